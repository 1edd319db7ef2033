"""The page of results, `experiments/RESULTS.md`: each study's command writes a section of it.

All that stands outside the marks of a section is written by hand and kept: the sentences at the
top, and the topics, headings of the second level that sections are sorted under. A section that
is new goes to the end; one that was moved under a topic stays there, however often it is written.
"""

import re
from pathlib import Path

from filelock import FileLock

from ugmm.writing import explaining, make_folder, write_atomic

__all__ = ["RESULTS", "publish_section"]

RESULTS = "experiments/RESULTS.md"

_UNSORTED = "## Not yet sorted under a topic"
_CONTENTS = re.compile(r"(<!-- contents -->\n).*?(<!-- /contents -->\n)(.*)", re.DOTALL)
_PAGE = """# Results

Each section is what its command wrote; what stands outside of them is written by hand, and kept.

## Contents

<!-- contents -->
<!-- /contents -->
"""


def publish_section(root: Path, study: str, section: str) -> Path:
    """Write a study's section of the page, in place of the one that is there.

    Args:
        root: The project's folder; see `ugmm.config.files.project_root`.
        study: What marks the section: `mnist_norm`, `crossval iris`.
        section: In Markdown; its first line is a heading of the third level.

    Returns:
        the page.
    """
    path = root / RESULTS
    make_folder(path.parent)
    # Another study that is published meanwhile would read a page without this section.
    with explaining(path), FileLock(path.with_name(".results.lock")):
        text = path.read_text(encoding="utf-8") if path.is_file() else _PAGE
        write_atomic(path, _with_contents(_with_section(text, study, section)))
    return path


def _with_section(text: str, study: str, section: str) -> str:
    """Replace a section between its marks, or add it at the end."""
    begin, end = f"<!-- {study} -->", f"<!-- /{study} -->"
    marked = f"{begin}\n{section.strip()}\n{end}"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if found.search(text):
        return found.sub(lambda _: marked, text)
    heading = "" if f"\n{_UNSORTED}\n" in text else f"{_UNSORTED}\n\n"
    return f"{text.rstrip()}\n\n{heading}{marked}\n"


def _with_contents(text: str) -> str:
    """List the topics and sections that follow, where the page has a place for that."""

    def listed(found: re.Match[str]) -> str:
        headings = re.findall(r"^(##|###) (.+)$", found[3], re.MULTILINE)
        lines = [f"{'  ' * (len(n) - 2)}- [{title}](#{_anchor(title)})" for n, title in headings]
        return "".join([found[1], *(f"{line}\n" for line in lines), found[2], found[3]])

    return _CONTENTS.sub(listed, text)


def _anchor(title: str) -> str:
    """Return the anchor that GitHub, and the site, give a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
