"""What an experiment can choose by name, and how a choice is declared.

    @choice("data", "wine", builds="ugmm.data.wine:WineDataModule")
    class WineConfig(DataConfig):
        val_fraction: float = key(0.2, low=0, below=1)

is a whole declaration: `data=wine` chooses it, `data.val_fraction=0.3` sets its key, a value out
of range is refused, and `build` calls the class with the keys. What is built may be named by a
string, so that a configuration is composed without importing it.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar, TypeVar, dataclass_transform

from ugmm.config.choices.plugins import load_plugins
from ugmm.errors import UserError
from ugmm.keys import key, options

__all__ = ["CHOSEN", "Choice", "choice", "declared"]

CHOSEN = ("data", "model", "task")  # the groups whose choices are declared

_declared: dict[str, dict[str, type["Choice"]]] = {group: {} for group in CHOSEN}
_Kind = TypeVar("_Kind", bound=type)


@dataclass
class Choice:
    """What can be chosen in a group; its fields are its keys.

    Attributes:
        name: What it is chosen by.
    """

    name: str = key()

    # No keys: the base of a group sets `group`, and `choice` the others.
    group: ClassVar[str] = ""
    builds: ClassVar[Any] = ""
    needs: ClassVar[str] = ""

    def construct(self, *arguments: Any, **keywords: Any) -> Any:
        """Call what the choice builds, with these arguments and the keys that are handed on.

        Raises:
            UserError: If that cannot be imported, or does not take them.
        """
        target: Any = self.imported()
        if lacking := getattr(target, "__abstractmethods__", None):
            raise UserError(f"{target.__qualname__} must define {', '.join(sorted(lacking))}")
        keywords = {**options(self), **keywords}
        try:
            inspect.signature(target).bind(*arguments, **keywords)
        except TypeError as error:
            raise UserError(
                f"{target.__qualname__} does not take what {_place(type(self))} hands to it "
                f"({error}); make its arguments those keys, or declare a key with passed=False"
            ) from error
        return target(*arguments, **keywords)

    def imported(self) -> Callable[..., Any]:
        """Import and return what the choice builds.

        Raises:
            UserError: If there is no such thing, or a package is missing that it needs.
        """
        package = self.needs.partition(">")[0]
        if package and find_spec(package) is None:
            raise UserError(
                f"{self.group}={self.name} needs {package}; install it with: pip install "
                f"'{self.needs}'"
            )
        builds = type(self).builds
        return _import(builds, _place(type(self))) if isinstance(builds, str) else builds

    def check_with(self, config: Any) -> None:
        """Raise UserError where the rest of a resolved configuration does not go with this."""


@dataclass_transform(kw_only_default=True)
def choice(
    group: str, *names: str, builds: str | Callable[..., Any] = "", needs: str = ""
) -> Callable[[_Kind], _Kind]:
    """Declare a choice: decorates a subclass of a group's base, and makes it a dataclass.

    Args:
        group: `data`, `model` or `task`, whose base is derived from.
        names: What it is chosen by; several, if one class serves them all.
        builds: What is called to build it: `package.module:Name`, or the class itself; by
            default, what the declaration that it derives from builds.
        needs: A package that does not come with ugmm, and its version: `spflow>=1.1,<2`.

    Raises:
        UserError: If there is no name or one is taken, or the class is not of this group.
    """

    def declare(cls: Any) -> Any:
        if group not in CHOSEN or getattr(cls, "group", "") != group:
            raise UserError(
                f"{_place(cls)} is not a choice of {group!r}; derive it from DataConfig, "
                "ModelConfig or TaskConfig, and declare it by @choice('data', ...), "
                "@choice('model', ...) or @choice('task', ...)"
            )
        if not names:
            raise UserError(f"{_place(cls)} has no name; write @choice({group!r}, 'its_name')")
        cls.__annotations__ = {**inspect.get_annotations(cls), "name": str}
        cls.name = key(names[0])
        made: Any = dataclass(kw_only=True)(cls)  # so that a key may be required
        made.builds, made.needs = builds or cls.builds, needs or cls.needs
        for name in names:
            other = _declared[group].get(name)
            if other is not None and _place(other) != _place(made):
                raise UserError(
                    f"{_place(made)} declares {group}={name}, as {_place(other)} does already; "
                    "give it another name"
                )
            _declared[group][name] = made
        return made

    return declare


def declared(group: str) -> Mapping[str, type[Choice]]:
    """Return the choices of a group by their names: this package's, and those of plugins."""
    load_plugins()
    return _declared[group]


def _import(builds: str, place: str) -> Callable[..., Any]:
    """Import what a string names, for the declaration at a place."""
    module, _, name = builds.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (AttributeError, ValueError) as error:  # ValueError: no module is named
        reason = str(error)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # it is there, and imports another that is missing
        reason = str(error)
    raise UserError(
        f"{place} builds {builds!r}, which cannot be imported ({reason}); name it by "
        "builds='package.module:Name'"
    )


def _place(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
