"""`benchmarks/CLUSTERS.md`: what the scripts of this folder found, a section each."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # a script's own folder alone is there

from pages import Page, read_options, table

__all__ = ["about", "read_options", "show", "table"]

_page = Page("clusters", "What several processes cost and bring")
about, show = _page.about, _page.show
