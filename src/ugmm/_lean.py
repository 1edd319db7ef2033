"""Starting a command that trains: packages are imported without what a run does not need.

`import lightning` brings all of torchmetrics and torch._dynamo, and these bring scipy.signal,
torchvision, sympy and more: half of the seconds until the first step, for the sake of three
classes. Only the command does without, or a program that calls `ugmm.cli.main`, and no other that
imports ugmm: what else is imported there is not ours to decide.
"""

import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from ugmm.terminal import loading

__all__ = ["starting"]

_COMPILER = "torch._dynamo"
_OBJECTS = 10_000  # between two searches for garbage: a step makes thousands, and hardly any


@contextmanager
def starting(*, told: bool = True) -> Iterator[None]:
    """Import in the body what trains.

    Args:
        told: Whether this process says that it is loading; see `ugmm.terminal.loading`.
    """
    with loading(told=told):
        if "lightning" in sys.modules:  # a command that a program runs: all is there already
            yield
            return
        collecting = gc.isenabled()
        gc.disable()  # imports leave no garbage; to look for some takes a quarter of their time
        try:
            import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

            if not {"torchmetrics", _COMPILER} & set(sys.modules) and find_spec("torchmetrics"):
                _import_lightning()
            yield
        finally:
            gc.freeze()  # what has been imported stays: later searches pass over it
            gc.set_threshold(_OBJECTS)
            if collecting:
                gc.enable()


def _import_lightning() -> None:
    """Import Lightning, with stand-ins for two packages that it imports."""
    sys.modules["torchmetrics"] = _StandIn("torchmetrics")
    sys.modules[_COMPILER] = _without_compiler()
    try:
        import_module("torchmetrics.utilities")  # before what it imports itself
        sys.modules["torchmetrics"].__dict__.update(
            Metric=import_module("torchmetrics.metric").Metric,
            MetricCollection=import_module("torchmetrics.collections").MetricCollection,
        )
        import_module("lightning.pytorch")
    except (ImportError, AttributeError):  # of versions that ask for more: all of it, then
        packages = ("lightning", "torchmetrics")
        for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
            del sys.modules[name]
    finally:
        del sys.modules[_COMPILER]  # for whoever compiles a network


def _without_compiler() -> ModuleType:
    """Return what Lightning takes from torch._dynamo for tasks that are compiled: none here is."""
    module = ModuleType(_COMPILER)
    module.__dict__.update(
        OptimizedModule=_Compiled("OptimizedModule", (), {}),
        disable=lambda function, *_, **__: function,
    )
    return module


class _Compiled(type):
    """The type of a class whose instances are those of the compiler's, once that is imported."""

    def __instancecheck__(cls, instance: Any) -> bool:
        """Return whether it is a module that `torch.compile` has made."""
        kind = getattr(sys.modules.get(_COMPILER), "OptimizedModule", None)
        return kind is not None and kind is not cls and isinstance(instance, kind)


class _StandIn(ModuleType):
    """A package of which little is known; asked for more, it becomes the whole package.

    Modules within it can be imported as ever: an extension's `torchmetrics.regression`, say.

    Arguments:
        name: The package's name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        from importlib.metadata import version  # a third of what the help takes

        spec = find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        self.__spec__, self.__file__ = spec, spec.origin
        self.__path__ = list(spec.submodule_search_locations or ())
        self.__version__, self._logger = version(name), logging.getLogger(name)
        self._load = partial(spec.loader.exec_module, self)

    def __getattr__(self, name: str) -> Any:
        """Load the package, unless Python asks for what a module may have or not."""
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        object.__setattr__(self, "__class__", ModuleType)  # which asks no more
        self._load()
        return getattr(self, name)
