"""What makes a shell complete the commands of `ugmm`, their options, experiments and files."""

import argparse
import re
from collections.abc import Iterator
from typing import Any

import shtab

from ugmm.config.files import KINDS, yaml_files

__all__ = ["completion_script"]


# Which files an argument names, by what it is called in the parsers; all of them for `launch`.
_FOLDERS = {
    "experiment": ("experiments",),
    "ablation": ("experiments/ablations",),
    "crossvalidation": ("experiments/crossval",),
    "name": tuple(KINDS),
}
_PLACES = ("run", "resume", "place", "places", "data", "out")  # folders and files

# Names are asked for when they are to be completed, so that one's own are among them: this prints
# those that stand below the headings of some commands. Of a folder's files only plain names:
# a shell would run what others say in $(...).
_PLAIN = r"^[A-Za-z0-9._-]+$"
_LIST = (
    "ugmm list 2>/dev/null | "
    "awk '/^[^ ]/{on = / ugmm (%s) NAME$/} on && /^  / && $1 ~ /" + _PLAIN + "/{print $1}'"
)
_FUNCTIONS = {
    "bash": """
_ugmm_{of}() {{
  compgen -W "$({names})" -- "$1"
  compgen -f -X '!*.y*ml' -- "$1"
}}
""",
    "zsh": """
_ugmm_{of}() {{
  local -a names=(${{(f)"$({names})"}})
  _describe -t names name names
  _files -g '*.y*ml'
}}
""",
}


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return what a shell is to read.

    Args:
        parser: Of `ugmm`; what completes each argument is noted in it.
        shell: "bash", "zsh" or "tcsh".
    """
    for action in _arguments(parser):
        completed = _completed_by(action)
        if completed is not None:
            action.complete = completed  # type: ignore[attr-defined]  # where shtab looks
    preamble = "".join(_function(shell, of) for of in _FOLDERS)
    return shtab.complete(parser, shell, preamble=preamble)


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of all commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _arguments(command)
        else:
            yield action


def _completed_by(action: argparse.Action) -> dict[str, Any] | None:
    """Return by what each shell completes an argument; None if there is nothing to say."""
    if action.dest in _FOLDERS and not action.option_strings:
        names = [name for folder in _FOLDERS[action.dest] for name in yaml_files(folder)]
        named = " ".join(name for name in names if re.match(_PLAIN, name))
        function = f"_ugmm_{action.dest}"
        return {"bash": function, "zsh": function, "tcsh": f"({named})"}  # tcsh has no functions
    if action.dest in _PLACES or str(action.metavar).startswith("FILE"):
        return dict(shtab.FILE)
    return None


def _function(shell: str, of: str) -> str:
    commands = "|".join(KINDS[folder].command for folder in _FOLDERS[of])
    return _FUNCTIONS.get(shell, "").format(of=of, names=_LIST % commands)
