"""The fenced blocks of a Markdown page, and which of them say that nobody runs them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+?) -->\n)?```(?P<language>\S*).*\n(?P<text>(?:.*\n)*?)```$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Fence:
    """A block of a page.

    Attributes:
        page: Its path in the repository.
        line: Of the page, where the block begins.
        language: What stands behind the fence.
        text: What stands in it.
        reason: Why it is not run, as the comment above it says; None if there is none.
    """

    page: str
    line: int
    language: str
    text: str
    reason: str | None


def fences(page: str, language: str | None = None) -> list[Fence]:
    """Return the blocks of a page, all or those of one language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [
        Fence(
            page,
            text.count("\n", 0, match.start()) + 1,
            *match.group("language", "text", "reason"),
        )
        for match in _FENCE.finditer(text)
    ]
    return [fence for fence in found if language in (None, fence.language)]


def pages() -> list[str]:
    """Return the pages whose blocks a reader may try: the README, and those of docs/."""
    found = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md"))
    return ["README.md", *found]
