"""Networks whose every neuron is a univariate Gaussian mixture (arXiv:2509.07569).

`import ugmm` is light: submodules load when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what is loaded below, for type checkers and editors
    from ugmm import (
        answers,
        baselines,
        calibration,
        checkpoints,
        cli,
        cluster,
        columns,
        completion,
        config,
        data,
        density,
        deploy,
        errors,
        exported,
        functional,
        given,
        inference,
        kernels,
        keys,
        launch,
        loading,
        metrics,
        nn,
        objectives,
        queries,
        ranks,
        reading,
        report,
        reporting,
        runs,
        sklearn,
        spec,
        stated,
        studies,
        tasks,
        terminal,
        tracking,
        trained,
        training,
        writing,
        yaml_text,
    )
    from ugmm.loading import load, load_task

__all__ = [
    "answers",
    "baselines",
    "calibration",
    "checkpoints",
    "cli",
    "cluster",
    "columns",
    "completion",
    "config",
    "data",
    "density",
    "deploy",
    "errors",
    "exported",
    "functional",
    "given",
    "inference",
    "kernels",
    "keys",
    "launch",
    "load",
    "load_task",
    "loading",
    "metrics",
    "nn",
    "objectives",
    "queries",
    "ranks",
    "reading",
    "report",
    "reporting",
    "runs",
    "sklearn",
    "spec",
    "stated",
    "studies",
    "tasks",
    "terminal",
    "tracking",
    "trained",
    "training",
    "writing",
    "yaml_text",
]
__version__ = "0.2.0"


if not TYPE_CHECKING:  # else any name would pass

    def __getattr__(name: str) -> Any:
        if name in ("load", "load_task"):
            return getattr(importlib.import_module("ugmm.loading"), name)
        if name in __all__:
            return importlib.import_module(f"ugmm.{name}")
        raise AttributeError(f"module 'ugmm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
