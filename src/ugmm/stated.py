"""How a CSV file is written, where that is stated and not found out. Imports no torch."""

import argparse
from dataclasses import dataclass, replace

__all__ = ["Stated", "add_stated", "read_stated"]


@dataclass(frozen=True)
class Stated:
    """How a CSV file is written, each as `ugmm.data.read_csv` takes it; "auto" finds it out.

    Attributes:
        encoding: Of its characters; a byte order mark in the file goes before.
        separator: What stands between columns.
        decimal: What stands before a number's decimals.
        source: Where that comes from, for errors, if not from the user's options.
    """

    encoding: str = "auto"
    separator: str = "auto"
    decimal: str = "auto"
    source: str = ""


# The options by name: what they may be (anything, of None), and what they say.
_OPTIONS = {
    "encoding": (None, "of a CSV file's characters, such as utf-8, utf-16, cp1252"),
    "separator": (("auto", "comma", "semicolon", "tab", "pipe"), "what stands between columns"),
    "decimal": (("auto", "point", "comma"), "what stands before a number's decimals"),
}


def add_stated(command: argparse.ArgumentParser) -> None:
    """Add the options that say how a CSV file is written."""
    for name, (choices, what) in _OPTIONS.items():
        command.add_argument(
            f"--{name}", choices=choices, help=f"{what}; default: as the run's data.{name} says"
        )


def read_stated(options: argparse.Namespace, data: object) -> Stated:
    """Return what the options say, or else the settings of the data that a run was trained on."""
    given = {n: said for n in _OPTIONS if (said := getattr(options, n)) is not None}
    own = {n: str(getattr(data, n, "auto")) for n in _OPTIONS if n not in given}
    taken = {name: setting for name, setting in own.items() if setting != "auto"}
    settings = ", ".join(f"data.{name}={setting!r}" for name, setting in taken.items())
    others = ", ".join(f"--{name}" for name in taken)
    source = f"the run has {settings}; give {others} if the file differs" if taken else ""
    return replace(Stated(**given, **own), source=source)
