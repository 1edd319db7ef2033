"""From a run folder back to its network, without Lightning."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ugmm.checkpoints import Checkpoint, fill, read_checkpoint, read_content, restore
from ugmm.config.choices.plugins import use_plugins
from ugmm.config.frozen import from_yaml, read_config
from ugmm.config.schema import Config
from ugmm.density import TiltedGaussian
from ugmm.errors import UserError
from ugmm.nn import Classifier
from ugmm.runs import Run, locate
from ugmm.spec import Spec

if TYPE_CHECKING:
    from ugmm.tasks import Task

__all__ = [
    "Sample",
    "TrainedNetwork",
    "load",
    "load_network",
    "load_task",
    "read_for",
    "tested_checkpoint",
]

_BATCH = 1000  # rows that the network sees at once

Which = Literal["best", "last"] | None


class Sample(NamedTuple):
    """What a network drew.

    Attributes:
        rows: Raw rows, (n, columns); see `ugmm.spec.Spec.decode`.
        labels: The names of their classes, (n,); None if the network knows no label.
    """

    rows: np.ndarray
    labels: np.ndarray | None


class TrainedNetwork:
    """A network that takes rows as the user has them; `load` returns it.

    Rows may be a tensor, an array, lists, a data frame or a mapping from names to columns, in the
    user's own units; see `ugmm.spec.Spec.encode`. One row alone is a batch of one.

    Arguments:
        network: The bare module, in evaluation mode and in model units.
        spec: What a row is.
        config: The run's configuration.
    """

    def __init__(self, network: Classifier, spec: Spec, config: Config) -> None:
        self.network = network
        self.spec = spec
        self.config = config
        self._is_normalized = False

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of `posterior`."""
        return self.spec.class_names

    def predict(self, rows: Any) -> np.ndarray:
        """Return the name of each row's most probable class: (n,), of texts.

        Raises:
            UserError: If the rows are not what the network was trained on, or it knows no classes.
        """
        return self._name(self._label_scores(rows).argmax(-1))

    def posterior(self, rows: Any) -> Tensor:
        """Return p(class | row), in the order of `class_names`: (n, classes).

        Raises:
            UserError: See `predict`.
        """
        return self._label_scores(rows).softmax(-1)

    def class_scores(self, rows: Any) -> Tensor:
        """Return the network's log-score of every class, in model units: (n, classes).

        Differences between classes mean something for any network; the scores themselves are
        log-likelihoods only if the network is a density.

        Raises:
            UserError: If the rows are not what the network was trained on.
        """
        x = self._encode(rows)
        self._normalize()
        return self._scores(self.network, x)

    def log_prob(self, rows: Any) -> Tensor:
        """Return log p(row) in nats, in the units of the raw rows, the label summed out: (n,).

        Features made of a categorical column count as numbers.

        Raises:
            UserError: If the network is no density, or the rows are not what it was trained on.
        """
        if not self.network.normalized:
            raise UserError(
                "this network is no density: its scores are no log-likelihoods; train one by "
                "task=generative, or compare classes by class_scores"
            )
        return self.class_scores(rows).logsumexp(-1) + self.spec.log_jacobian

    def sample(self, n: int, generator: torch.Generator | None = None) -> Sample:
        """Draw rows, in raw units.

        Args:
            n: How many.
            generator: Of random numbers; by default, torch's.

        Raises:
            UserError: If the network cannot be drawn from.
        """
        if not isinstance(self.network, CanSample):
            raise UserError("this network cannot be drawn from; train one by task=generative")
        if n < 0:
            raise UserError(f"{n} rows cannot be drawn; ask for 0 or more")
        x, y = self.network.sample(n, generator=generator)
        labelled = self._scores(self.network, x[:1]).shape[-1] > 1
        return Sample(self.spec.decode(x), self._name(y) if labelled else None)

    def _encode(self, rows: Any) -> Tensor:
        return torch.from_numpy(self.spec.encode(rows))

    def _name(self, labels: Tensor) -> np.ndarray:
        return np.array(self.class_names)[labels.cpu().numpy()]

    def _label_scores(self, rows: Any) -> Tensor:
        """Return scores that rank the classes: (n, classes)."""
        x = self._encode(rows)
        if isinstance(self.network, TiltedGaussian):  # Z is the same for all classes
            scores = self._scores(self.network.score, x)
        else:
            self._normalize()
            scores = self._scores(self.network, x)
        if scores.shape[-1] < 2:
            raise UserError(
                "this network knows no classes; train one with task.label=onehot, and on a table "
                "of your own with data.label=..."
            )
        return scores

    @torch.no_grad()
    def _scores(self, network: Classifier, x: Tensor) -> Tensor:
        """Return the class scores of features in model units (n, N): (n, classes)."""
        parameter = next(self.network.parameters(), None)
        device = next(chain(self.network.parameters(), self.network.buffers())).device
        dtype = x.dtype if parameter is None else parameter.dtype
        parts = [network.class_scores(part.to(device, dtype)) for part in x.split(_BATCH)]
        return torch.cat(parts)

    def _normalize(self) -> None:
        """Estimate the partition functions, once, by as many draws as at the run's test.

        Those of a checkpoint may be missing, or of an earlier epoch.
        """
        if self._is_normalized:
            return
        for module in self.network.modules():
            if isinstance(module, TiltedGaussian):
                module.normalize(self.config.task.z_draws)  # type: ignore[attr-defined]
        self._is_normalized = True


@runtime_checkable
class CanSample(Protocol):
    """A density that can be drawn from."""

    def sample(self, n: int, *, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Draw features (n, N), in model units, and labels (n,)."""


def load(
    run: str | Path, checkpoint: Which = None, *, plugins: str | Path | Iterable[str | Path] = ()
) -> TrainedNetwork:
    """Return the trained network of a run folder, which takes rows as the user has them.

    Args:
        run: The run folder; or one of its checkpoints, or a folder of runs, of which the newest is
            taken (see `ugmm.runs.locate`).
        checkpoint: Which one; by default, the one that was named or else tested.
        plugins: Files that declare what the run chose beside what comes with ugmm.

    Raises:
        UserError: If the folder, its configuration or its checkpoint cannot be used, or the run
            is from before it was saved what a row is.
    """
    use_plugins(plugins)
    folder, config, saved = _read(run, checkpoint)
    spec = saved.spec
    if spec is None and (content := folder.read_spec()) is not None:
        spec = Spec.from_json(content)
    if spec is None:
        raise UserError(
            f"{run} does not say what its rows were, since an earlier version of ugmm trained it; "
            "train again, or take the bare network in its own units by "
            "ugmm.loading.load_network(run)"
        )
    return TrainedNetwork(_build(config, saved), spec, config)


def load_network(
    run: str | Path, checkpoint: Which = None, *, plugins: str | Path | Iterable[str | Path] = ()
) -> Classifier:
    """Return the bare network of a run folder, in evaluation mode.

    It takes features in model units, as the run's data module serves them: standardised for
    tables, pixels in [0, 1] for MNIST. For rows as you have them, see `load`.

    Args:
        run: The run folder; or one of its checkpoints, or a folder of runs, of which the newest is
            taken (see `ugmm.runs.locate`).
        checkpoint: Which one; by default, the one that was named or else tested.
        plugins: Files that declare what the run chose beside what comes with ugmm.

    Raises:
        UserError: If the folder, its configuration or its checkpoint cannot be used.
    """
    use_plugins(plugins)
    _, config, saved = _read(run, checkpoint)
    return _build(config, saved)


def load_task(
    run: str | Path, checkpoint: Which = None, *, plugins: str | Path | Iterable[str | Path] = ()
) -> "Task":
    """Return the Lightning module of a run folder or of a checkpoint, in evaluation mode.

    It takes features in model units, as `load_network` says.

    Args:
        run: The run folder; or a checkpoint, of a run or of a Trainer of your own. Classes of your
            own that the latter needs must be imported already.
        checkpoint: Which one of a run folder; by default, the one that was tested.
        plugins: Files that declare what the run chose beside what comes with ugmm.

    Raises:
        UserError: If what is named cannot be used, or was saved by other classes than ours.
    """
    use_plugins(plugins)
    path = Path(run)
    if path.is_dir():
        _, config, saved = _read(run, checkpoint)
        path, content = saved.path, saved.content
        task = _build_task(config, saved)
    elif "ugmm" in (content := read_content(path)):
        saved = read_checkpoint(path)
        task = _build_task(from_yaml(saved.stamp.config, str(path)), saved)
    else:
        task = _remake_task(content, path)
    task.on_load_checkpoint(content)
    fill(task, content["state_dict"], path)
    return task.eval()


def _read(run: str | Path, checkpoint: Which) -> tuple[Run, Config, Checkpoint]:
    """Read a run's configuration and one of its checkpoints."""
    folder, named = locate(run)
    config = read_config(folder)
    by_default = named or tested_checkpoint(folder, config)
    paths = {None: by_default, "best": folder.best, "last": folder.last}
    if checkpoint not in paths:
        raise UserError(f"no checkpoint {checkpoint!r}; name 'best' or 'last', or none")
    return folder, config, read_for(folder, paths[checkpoint], config)


def _build(config: Config, saved: Checkpoint) -> Classifier:
    stamp = saved.stamp
    network = config.task.network(config.model, stamp.n_features, stamp.n_classes)
    restore(network, saved)
    return network.eval()


def _build_task(config: Config, saved: Checkpoint) -> "Task":
    stamp = saved.stamp
    network = config.task.network(config.model, stamp.n_features, stamp.n_classes)
    return config.task.build(network, stamp.n_classes, **config.training())


def _remake_task(checkpoint: Mapping[str, Any], path: Path) -> "Task":
    """Return the task of a checkpoint of another Trainer, with the weights that it began with."""
    from ugmm.tasks import Task
    from ugmm.tasks.remake import find_class

    named = checkpoint.get("task")
    cls, arguments = find_class(named, Task), checkpoint.get("hyper_parameters")
    if cls is None or not isinstance(arguments, Mapping):
        saved = f"is of a {named}, which is not imported" if named else "names no task of ugmm"
        raise UserError(
            f"{path} {saved}; import its module, or load it by its class: "
            "ITS_CLASS.load_from_checkpoint(path)"
        )
    try:
        return cls(**arguments)
    except TypeError as error:
        raise UserError(f"{path} does not fit {named} ({error}); use the one it is of") from error


def tested_checkpoint(run: Run, config: Config) -> Path:
    """Return the path of the checkpoint that is tested at the end."""
    return run.best if config.trainer.test_checkpoint == "best" else run.last


def read_for(run: Run, path: Path, config: Config) -> Checkpoint:
    """Read a checkpoint of a run.

    Args:
        run: Whose it must be.
        path: The file.
        config: The run's configuration, with whose network the checkpoint must agree.

    Raises:
        UserError: If it is missing, damaged, not one of ours, or of another run or network.
    """
    checkpoint = read_checkpoint(path, run.read_environment().get("run_id"))
    saved = from_yaml(checkpoint.stamp.config, str(path))
    if difference := _difference(saved, config):
        raise UserError(
            f"{path} is of another architecture than its run's config.yaml: {difference}; bring "
            "back the one that belongs to the other"
        )
    return checkpoint


def _difference(saved: Config, expected: Config) -> str:
    """Name the first setting in which the networks of two configurations differ."""
    for group in ("task", "model"):
        theirs, ours = (asdict(getattr(config, group)) for config in (saved, expected))
        for key in sorted({*theirs, *ours} - {"kernel"}):
            if theirs.get(key) != ours.get(key):
                return f"{group}.{key} is {theirs.get(key)} there and {ours.get(key)} here"
    return ""
