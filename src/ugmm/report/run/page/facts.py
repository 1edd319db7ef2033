"""What a run's page is made of: the files of the run folder, and what its data say beside them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ugmm.answers import LEVEL, interval_names
from ugmm.metrics import find_metric
from ugmm.reading import read_text
from ugmm.report.escaping import for_spreadsheet
from ugmm.runs import Confusion, Run
from ugmm.spec import Spec
from ugmm.yaml_text import read_mapping, to_values

__all__ = ["MOST", "DataFacts", "RunFacts", "cut", "number", "read_facts"]

MOST = 200  # letters of a name that are shown


@dataclass(frozen=True)
class DataFacts:
    """What the data say that the run folder does not.

    Attributes:
        sizes: Rows by split: "train", "val" and "test".
        classes: How many rows of each class a split has, by split; empty where there are none.
        low: The least number of each column among the training rows, in raw units, (columns,);
            NaN where it holds none.
        high: The greatest, likewise.
        missing: In how many of all rows a column has no value, (columns,).
        find: Raw test rows by their numbers in `predictions.csv`: (n, columns).
    """

    sizes: Mapping[str, int]
    classes: Mapping[str, np.ndarray]
    low: np.ndarray
    high: np.ndarray
    missing: np.ndarray
    find: Callable[[Sequence[int]], np.ndarray]


@dataclass(frozen=True)
class RunFacts:
    """What a page shows of a run.

    Attributes:
        run: The run.
        config: Every setting, as it was frozen.
        environment: Where it ran.
        spec: What a row is; None before the training has begun.
        history: The rows of `metrics.csv`.
        summary: The final figures; empty before the end.
        confusion: How often each class was taken for each; None where none was counted.
        answers: The columns of `predictions.csv`, by name; none where there is no such file.
        is_running: Whether a process is at it; None if that cannot be told from here.
        data: None where the data could not be read.
        lost: Why not.
    """

    run: Run
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    spec: Spec | None
    history: Sequence[Mapping[str, float | None]]
    summary: Mapping[str, float]
    confusion: Confusion | None
    answers: Mapping[str, np.ndarray]
    is_running: bool | None
    data: DataFacts | None = None
    lost: str = ""

    @property
    def title(self) -> str:
        """The experiment, and the name of the run if that is another."""
        names = (str(self.config.get(key, "")) for key in ("experiment", "name"))
        return cut(" ".join(dict.fromkeys(filter(None, names))) or self.run.id)

    def settings(self, group: str) -> Mapping[str, Any]:
        """Return the settings of a group: "data", "model", ..."""
        found = self.config.get(group)
        return found if isinstance(found, Mapping) else {}

    @property
    def numbers(self) -> tuple[np.ndarray, ...] | None:
        """Of a regression's test rows the truth, the mean and its interval's ends, (n,) each."""
        names = ("truth", "prediction", *interval_names(LEVEL))
        if not set(names) <= set(self.answers):
            return None
        return tuple(self.answers[name] for name in names)

    @property
    def posterior(self) -> np.ndarray | None:
        """p(class | row) of each test row, (n, classes); None where there are no classes."""
        columns = [values for name, values in self.answers.items() if name.startswith("p(")]
        return np.stack(columns, axis=1) if columns else None

    def classes_of(self, column: str) -> np.ndarray:
        """Return the numbers of the classes in a column of `predictions.csv`."""
        names = [name for name in self.answers if name.startswith("p(")]
        places = {for_spreadsheet(name[2:-1]): place for place, name in enumerate(names)}
        return np.array([places[str(name)] for name in self.answers[column]], dtype=np.int64)

    def format(self, key: str) -> str:
        """Return a figure of the summary as it is printed by itself."""
        return find_metric(key).format_alone(self.summary[key])


def read_facts(run: Run, *, is_running: bool | None = None) -> RunFacts:
    """Read a run folder; what its data say is left to whoever can read them.

    Args:
        run: The run.
        is_running: See `RunFacts`.

    Raises:
        UserError: If a file of it is damaged.
    """
    content = read_mapping(read_text(run.config, "mend it"), str(run.config))
    spec = run.read_spec()
    answers = run.read_predictions() or {}
    return RunFacts(
        run=run,
        config=to_values(content),
        environment=run.read_environment(),
        spec=None if spec is None else Spec.from_json(spec),
        history=run.read_metrics(),
        summary=run.read_summary(),
        confusion=run.read_confusion(),
        answers={name: np.array(values) for name, values in answers.items()},
        is_running=is_running,
    )


def cut(text: str, most: int = MOST) -> str:
    """Return a name, cut to so many letters if it is longer."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def number(value: float) -> str:
    """Return a number in the user's units, to as many digits as float32 holds."""
    return f"{value:.7g}"
