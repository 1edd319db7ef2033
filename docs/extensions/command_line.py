"""The directive `commands`: every command of `ugmm` with its arguments, as its parser has them."""

import argparse
import os
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from ugmm.cli import make_parser


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}


class Commands(SphinxDirective):
    """A section for each command."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        with patch.dict(os.environ, {"COLUMNS": "78", "NO_COLOR": "1"}):
            text = "\n".join(describe(make_parser()))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def describe(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield Markdown: of each command what it is for, its usage, and its arguments."""
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for listed in commands._choices_actions:
        command = commands.choices[listed.dest]
        yield f"## ugmm {listed.dest}\n\n{_sentence(listed.help)}\n"
        usage = command.format_usage().removeprefix("usage: ")
        yield f"```text\n{usage}```\n"
        for action in command._actions:
            if action.dest != "help":
                yield f"`{_name(action)}`\n: {_help(action)}\n"


def _name(action: argparse.Action) -> str:
    shown = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    if action.choices:
        shown = "{" + ",".join(map(str, action.choices)) + "}"
    if not action.option_strings:
        return str(shown)
    value = "" if action.nargs == 0 else f" {shown}"
    return ", ".join(action.option_strings) + value


def _help(action: argparse.Action) -> str:
    return _sentence((action.help or "") % vars(action))


def _sentence(text: str | None) -> str:
    return f"{text[0].upper()}{text[1:].rstrip(' .')}." if text else ""
