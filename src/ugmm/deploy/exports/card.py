"""The model card: what a trained network is, how good it is, and how to use it."""

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from ugmm.errors import list_some
from ugmm.metrics import find_metric
from ugmm.trained import TrainedNetwork, TrainedRegressor
from ugmm.yaml_text import write

__all__ = ["write_card"]

_COLUMNS = 20  # that are named
_LOAD = """\
```python
import ugmm

network = ugmm.load("FOLDER")  # this folder, once downloaded
network.predict(rows)
```

`rows` is a data frame, a mapping from names to columns, or an array, in the units of the data
that it was trained on. Install `ugmm[export]` for that. The weights are plain numbers
(safetensors): loading runs no code of this folder.
"""


def write_card(
    trained: TrainedNetwork | TrainedRegressor,
    described: Mapping[str, Any],
    license: str,  # noqa: A002
) -> str:
    """Return the card, in Markdown below a head of YAML that hubs of models read.

    Args:
        trained: The network.
        described: See `ugmm.exported.describe`; its metrics are the run's, digit for digit.
        license: As hubs name it, such as "mit".
    """
    name, model = trained.config.experiment, trained.config.model.name
    head = {
        "library_name": "ugmm",
        "license": license,
        "pipeline_tag": _task(trained),
        "tags": list(dict.fromkeys(["ugmm", "mixture-neurons", model])),
        "model-index": [{"name": name, "results": _results(trained, described)}],
    }
    lines = ["---", write(head).rstrip(), "---", "", f"# {name}", ""]
    lines += [*_about(trained, described), "", "## Use", "", _LOAD]
    if described["metrics"]:
        lines += ["## Test", "", "| metric | value |", "| :-- | --: |", *_rows(described), ""]
    return "\n".join(lines)


def _task(trained: TrainedNetwork | TrainedRegressor) -> str:
    """Return the kind of task, in the words of hubs."""
    if isinstance(trained, TrainedRegressor):
        return "tabular-regression"
    return "image-classification" if trained.spec.image_shape else "tabular-classification"


def _data(trained: TrainedNetwork | TrainedRegressor) -> str:
    """Return the name of the data set; of a table of the user's own, that of its file."""
    data = trained.config.data
    path = getattr(data, "path", None)
    return PurePath(path).name if isinstance(path, str) else data.name


def _results(
    trained: TrainedNetwork | TrainedRegressor, described: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return what was measured at the test, as hubs list it."""
    metrics = [
        {"type": key.partition("/")[2], "name": key, "value": value}
        for key, value in described["metrics"].items()
        if key.startswith("test/")
    ]
    if not metrics:
        return []
    data = _data(trained)
    return [
        {
            "task": {"type": _task(trained)},
            "dataset": {"name": data, "type": data, "split": "test"},
            "metrics": metrics,
        }
    ]


def _about(
    trained: TrainedNetwork | TrainedRegressor, described: Mapping[str, Any]
) -> Iterator[str]:
    spec, config = trained.spec, trained.config
    yield (
        f"A network of {trained.network.n_parameters():,} parameters (model "
        f"`{config.model.name}`, task `{config.task.name}`), trained by ugmm "
        f"{described['library_version']}."
    )
    yield ""
    yield f"- data: {_data(trained)}"
    if spec.columns:
        names = [f"{c.name} ({c.unit})" if c.unit else c.name for c in spec.columns]
        yield f"- columns: {list_some(names, _COLUMNS)}"
    elif spec.image_shape:
        yield "- rows: images of {} x {} pixels".format(*spec.image_shape)
    else:
        yield f"- rows: {spec.n_features} numbers"
    if spec.target is not None:
        yield f"- predicts: {spec.target.label}"
    elif spec.class_names:
        yield f"- classes: {list_some(spec.class_names, _COLUMNS)}"
    if described["run"]:
        yield f"- run: {described['run']}"
    if described["commit"]:
        yield f"- commit: {described['commit']}"


def _rows(described: Mapping[str, Any]) -> Iterator[str]:
    for key, value in described["metrics"].items():
        metric = find_metric(key)
        note = f" ({metric.note})" if metric is not None and metric.note else ""
        yield f"| `{key}`{note} | {value} |"
