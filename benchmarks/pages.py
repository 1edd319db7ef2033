"""Pages of results: a section for each script of a folder, which writes it itself."""

import argparse
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

__all__ = ["Page", "read_options", "table"]

HERE = Path(__file__).resolve().parent


def read_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Add the options of every script, and read the command line; compute on one thread."""
    parser.add_argument("--quick", action="store_true", help="a small part, to see that it runs")
    parser.add_argument("--write", action="store_true", help="put it into the page of results")
    torch.set_num_threads(1)
    return parser.parse_args()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


class Page:
    """The results of a folder of scripts.

    Arguments:
        folder: Of `benchmarks`; the page is called like it.
        title: Of the page.
    """

    def __init__(self, folder: str, title: str) -> None:
        self.folder = folder
        self.path = HERE / f"{folder.upper()}.md"
        self.head = (
            f"# {title}\n\nA section for each script of `benchmarks/{folder}`, written by\n"
            f"`python benchmarks/{folder}/NAME.py --write`. Times are of the process's own CPU "
            "time on one\nthread, where a section says nothing else.\n"
        )

    def about(self, name: str) -> str:
        """Return which script, of which commit, found something, and on which machine."""
        commit = subprocess.run(
            ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
        ).stdout.strip()
        return (
            f"`python benchmarks/{self.folder}/{name}.py` at {commit}, torch "
            f"{torch.__version__}, {platform.machine()}, {os.cpu_count()} CPUs"
        )

    def show(self, name: str, title: str, text: str, write: bool) -> None:
        """Print what a script found; put it in the place of its section, too, if asked to.

        Args:
            name: Of the script, without `.py`.
            title: Of the section.
            text: What was found, in Markdown.
            write: Whether to write the section.
        """
        about = self.about(name)
        section = f"## {name}: {title}\n\n{about}\n\n{text.strip()}\n"
        print(section)
        if not write:
            return
        whole = self.path.read_text(encoding="utf-8") if self.path.exists() else self.head
        head, *sections = re.split(r"^(?=## )", whole, flags=re.MULTILINE)
        kept = [s.strip() + "\n" for s in sections if not s.startswith(f"## {name}:")]
        found = "\n".join([head.strip() + "\n", *sorted([*kept, section])])
        self.path.write_text(found, encoding="utf-8")
