"""The model card: what a trained network is, how good it is, and how to use it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from ugmm.errors import list_some
from ugmm.metrics import find_metric
from ugmm.report.escaping import for_markdown, markdown_code
from ugmm.trained import TrainedNetwork, TrainedRegressor
from ugmm.yaml_text import write

__all__ = ["write_card"]

_COLUMNS = 20  # that are named
_OTHER = "other"  # the task of a density without classes, for which hubs have no word
_LOAD = """\
```python
import ugmm

network = ugmm.load("FOLDER")  # this folder, once downloaded
network.METHOD(rows)
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
    task = _task(trained)
    head = {
        "library_name": "ugmm",
        "license": license,
        **({"pipeline_tag": task} if task != _OTHER else {}),
        "tags": list(dict.fromkeys(["ugmm", "mixture-neurons", model])),
        "model-index": [{"name": name, "results": _results(trained, described)}],
    }
    lines = ["---", write(head).rstrip(), "---", "", f"# {for_markdown(name)}", ""]
    lines += [*_about(trained, described), "", "## Use", ""]
    lines.append(_LOAD.replace("METHOD", "log_prob" if task == _OTHER else "predict"))
    if described["metrics"]:
        lines += ["## Test", "", "| metric | value |", "| :-- | --: |", *_rows(described), ""]
    return "\n".join(lines)


def _task(trained: TrainedNetwork | TrainedRegressor) -> str:
    """Return the kind of task, in the words of hubs."""
    if isinstance(trained, TrainedRegressor):
        return "tabular-regression"
    if not trained.config.task.has_label:
        return _OTHER
    return "image-classification" if trained.spec.image_shape else "tabular-classification"


def _data(trained: TrainedNetwork | TrainedRegressor) -> str:
    """Return the name of the data set; of a table, that of its file, "" if it was in memory."""
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
    data = _data(trained)
    if not metrics or not data:  # hubs want both
        return []
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
    size, version = f"{trained.network.n_parameters():,}", described["library_version"]
    model, task = markdown_code(config.model.name), markdown_code(config.task.name)
    yield (
        f"A network of {size} parameters (model {model}, task {task}), trained by ugmm {version}."
    )
    yield ""
    if data := _data(trained):
        yield f"- data: {for_markdown(data)}"
    if spec.columns:
        names = [f"{c.name} ({c.unit})" if c.unit else c.name for c in spec.columns]
        yield f"- columns: {_listed(names)}"
    elif spec.image_shape:
        yield "- rows: images of {} x {} pixels".format(*spec.image_shape)
    else:
        yield f"- rows: {spec.n_features} numbers"
    if spec.target is not None:
        yield f"- predicts: {for_markdown(spec.target.label)}"
    elif config.task.has_label:
        yield f"- classes: {_listed(spec.class_names)}"
    if described["run"]:
        yield f"- run: {for_markdown(described['run'])}"
    if described["commit"]:
        yield f"- commit: {for_markdown(described['commit'])}"


def _listed(names: Sequence[str]) -> str:
    return list_some([for_markdown(name) for name in names], _COLUMNS)


def _rows(described: Mapping[str, Any]) -> Iterator[str]:
    for key, value in described["metrics"].items():
        metric = find_metric(key)
        note = f" ({metric.note})" if metric is not None and metric.note else ""
        yield f"| {for_markdown(key + note)} | {value} |"
