"""`benchmarks/UNCERTAINTY.md`: what the scripts of this folder found, a section each."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # a script's own folder alone is there

from pages import Page, read_options, table

__all__ = ["read_options", "show", "table"]

show = Page("uncertainty", "How sure networks are, and of what").show
