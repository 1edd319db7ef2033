"""`benchmarks/QUERIES.md`: what the checks of `benchmarks/queries` found, a section each."""

import argparse
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

__all__ = ["read_options", "show", "table"]

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "QUERIES.md"
HEADER = """# What the checks of queries found

A section for each script of `benchmarks/queries`, written by `python benchmarks/queries/NAME.py
--write`. Times are of the process's own CPU time on one thread.
"""


def read_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add the options of every check, and read the command line; compute on one thread."""
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it runs")
    parser.add_argument("--write", action="store_true", help="put it into benchmarks/QUERIES.md")
    torch.set_num_threads(1)
    return parser.parse_args()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def show(name: str, title: str, text: str, write: bool) -> None:
    """Print what a check found; put it in the place of its section, too, if asked to.

    Args:
        name: Of the script, without `.py`.
        title: Of the section.
        text: What was found, in Markdown.
        write: Whether to write the section.
    """
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
    ).stdout.strip()
    about = (
        f"`python benchmarks/queries/{name}.py` at {commit}, torch {torch.__version__}, "
        f"{platform.machine()}, {os.cpu_count()} CPUs"
    )
    section = f"## {name}: {title}\n\n{about}\n\n{text.strip()}\n"
    print(section)
    if not write:
        return
    whole = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else HEADER
    head, *sections = re.split(r"^(?=## )", whole, flags=re.MULTILINE)
    kept = [s.strip() + "\n" for s in sections if not s.startswith(f"## {name}:")]
    found = "\n".join([head.strip() + "\n", *sorted([*kept, section])])
    RESULTS.write_text(found, encoding="utf-8")
