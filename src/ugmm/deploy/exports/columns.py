"""From the columns that a user has to what a network sees: the spec of a row, as a graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor, nn

from ugmm.columns import MISSING, UNKNOWN, Column, is_missing
from ugmm.spec import Spec

__all__ = ["STRANGE", "Features", "Input", "examples", "inputs_of", "to_tensors", "to_values"]

# Of a text that is none of a column's categories: a missing one, where that may be; any other.
_NOT_KNOWN, STRANGE = -1, -2
_MISSING = [  # as `is_missing` reads them, in either case: a graph compares letter by letter
    "".join(letters)
    for text in MISSING
    for letters in product(*zip(text.lower(), text.upper(), strict=True))
]
_ROWS = 3  # that a graph is traced with: any number but 0 and 1, which mean something to torch


@dataclass(frozen=True)
class Input:
    """An input of an exported network.

    Attributes:
        name: The column's; or `rows`, where columns have no names: then it takes all of them.
        dtype: Of its values, (n,), or of rows, (n, N).
        places: Of a categorical column the number that stands for each text; those of others are
            `STRANGE`. None of numbers.
    """

    name: str
    dtype: torch.dtype
    places: Mapping[str, int] | None = None


def inputs_of(spec: Spec) -> list[Input]:
    """Return the inputs that a network's rows come by."""
    if not spec.columns:
        return [Input("rows", torch.float32 if spec.image_shape else torch.float64)]
    return [
        Input(column.name, torch.int64, _places(column, spec))
        if column.categories
        else Input(column.name, torch.float64)
        for column in spec.columns
    ]


def _places(column: Column, spec: Spec) -> dict[str, int]:
    """Return the number of each text, as `Column.encode` reads them.

    But a category must be written as it was in training: a graph compares texts, and sees no
    numbers in them.
    """
    places = {text: place for place, text in enumerate(column.categories)}
    missing = _NOT_KNOWN if spec.keeps_missing else places.get(UNKNOWN, STRANGE)
    return {**dict.fromkeys(_MISSING, missing), **places}


def examples(spec: Spec) -> tuple[Tensor, ...]:
    """Return inputs to trace a graph with."""
    shape = (_ROWS,) if spec.columns else (_ROWS, spec.n_features)
    return tuple(torch.zeros(shape, dtype=each.dtype) for each in inputs_of(spec))


def to_values(spec: Spec, rows: np.ndarray) -> list[np.ndarray]:
    """Return raw rows (n, columns), as `Spec.decode` gives them, as the inputs' values.

    Those of categorical columns are texts.
    """
    if not spec.columns:
        return [rows.astype(np.float32 if spec.image_shape else np.float64)]
    return [
        np.array(["" if is_missing(value) else str(value) for value in values], dtype=object)
        if column.categories
        else values.astype(np.float64)
        for column, values in zip(spec.columns, rows.T, strict=True)
    ]


def to_tensors(spec: Spec, values: Sequence[np.ndarray]) -> list[Tensor]:
    """Return what `Features` takes of the inputs' values: texts become numbers."""
    tensors = []
    for each, array in zip(inputs_of(spec), values, strict=True):
        if each.places is None:
            tensors.append(torch.from_numpy(np.ascontiguousarray(array)))
        else:
            tensors.append(torch.tensor([each.places.get(text, STRANGE) for text in array]))
    return tensors


class Features(nn.Module):
    """Columns to features in model units, as `Spec.encode` has it.

    A graph raises no errors. So this tells which rows `Spec.encode` refuses.

    Arguments:
        spec: What a row is.

    Shapes:
        inputs: those of `inputs_of`. Outputs: features (n, N), float32, and whether a row is
        refused, (n,).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        for name in ("mean", "std"):  # of the spec, which is saved by itself
            numbers = torch.tensor(getattr(spec, name), dtype=torch.float64)
            self.register_buffer(name, numbers, persistent=False)

    def forward(self, *values: Tensor) -> tuple[Tensor, Tensor]:
        """Return features, and which rows are refused."""
        spec = self.spec
        if spec.columns:
            pairs = list(zip(spec.columns, values, strict=True))
            raw = torch.cat([self._encode(*pair) for pair in pairs], -1)
            strange = [each == STRANGE for column, each in pairs if column.categories]
        else:
            raw, strange = values[0], []
        wrong = torch.zeros_like(raw, dtype=torch.bool)
        if spec.pixel_range is not None:
            low, high = spec.pixel_range
            wrong = (raw < low) | (raw > high)
            if spec.binary:
                raw = torch.where(raw.isnan(), raw, (raw > 0.5).to(raw.dtype))
        x = ((raw - self.mean) / self.std if spec.std else raw).float()
        numbers = x.abs() <= torch.finfo(x.dtype).max
        wrong = wrong | ~(numbers | raw.isnan() if spec.keeps_missing else numbers)
        refused = wrong.any(-1)
        for rows in strange:
            refused = refused | rows
        return x, refused

    def _encode(self, column: Column, values: Tensor) -> Tensor:
        """Return the features of a column, (n, k) float64."""
        values = values.unsqueeze(-1)
        if not column.categories:
            if column.fill is None or self.spec.keeps_missing:
                return values
            return torch.where(values.isnan(), column.fill, values)
        codes = (values == torch.arange(len(column.categories))).double()
        return torch.where(values == _NOT_KNOWN, torch.nan, codes)
