"""Makes torchvision importable beside a torch without CUDA: import this module before it.

The package index serves one build of torchvision for Linux, made for CUDA. Beside a CPU-only
torch its compiled library cannot be loaded, and its Python code then fails while it describes
two operators of that library ("operator torchvision::nms does not exist"). `import torchmetrics`
and `import lightning` fail with it. Nothing here calls those operators: it is enough that their
schemas exist, so where the real ones cannot be loaded this module declares them.

It cannot help a program that imports Lightning before anything of ugmm. What such a program should
import first is `ugmm.data`, which imports this module: docs/installing.md says so.
"""

import sys
from contextlib import suppress
from importlib.machinery import PathFinder
from importlib.util import find_spec

import torch

__all__ = ["declare_missing_operators"]


def declare_missing_operators() -> torch.library.Library | None:
    """Declare torchvision's `nms` and `qnms` unless torchvision itself can define them.

    Whether it can is found out as torchvision does, by loading its library `_C`. That works
    without importing torchvision, and torchvision's own load of the same library afterwards
    changes nothing. Merely looking at versions would not do: what matters is whether the
    library's dependencies are there.

    Returns:
        The library that owns the schemas, which vanish with it; None where none was needed.
    """
    if sys.platform != "linux":  # elsewhere the index serves builds that match torch's
        return None
    package = find_spec("torchvision")
    if package is None:
        return None
    compiled = PathFinder.find_spec("_C", list(package.submodule_search_locations or ()))
    if compiled is not None and compiled.origin is not None:
        with suppress(OSError):  # a CUDA library that is missing, or symbols of another torch
            torch.ops.load_library(compiled.origin)
    # Asking for the operator also covers a torchvision already imported, and a second call.
    if hasattr(torch.ops.torchvision, "nms"):
        return None
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


_LIBRARY = declare_missing_operators()
