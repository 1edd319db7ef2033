"""Which columns of a table a network reads, and its rows in model units."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ugmm.deploy.predicting.cells import to_values
from ugmm.deploy.predicting.tables import Block, Table
from ugmm.errors import RowError, UserError, nearest
from ugmm.spec import Column, Spec, column_of, unit_pixels

__all__ = ["Part", "RowReader"]


class Part(NamedTuple):
    """Some of a table's rows.

    Attributes:
        x: Features in model units, (n, N) float32.
        y: Labels, (n,) int64, or targets in model units, (n,) float32; None where they are not
            read.
        kept: The columns that are copied, by name.
    """

    x: Tensor
    y: Tensor | None
    kept: dict[str, pa.Array]


class RowReader:
    """Reads rows of a table, a block after the other.

    Arguments:
        table: The table.
        spec: What a row is.
        keep: Columns that are copied, whether the network knows them or not.
        answer: The column of the label or target, if it is read, too.

    Raises:
        UserError: If the table has not the columns that it should.
    """

    def __init__(
        self, table: Table, spec: Spec, keep: Sequence[str] = (), answer: str | None = None
    ) -> None:
        self.table, self.spec = table, spec
        names = table.names
        for name in keep:
            if name not in names:
                raise UserError(
                    f"--keep {name}: {table.name} has no such column; {nearest(name, names)}"
                )
        if answer is not None and answer not in names:
            raise UserError(
                f"{table.name} has no column {answer!r} to test by; add it, or rename it: "
                f"{nearest(answer, names)}"
            )
        self.kept = {name: names.index(name) for name in keep}
        aside = keep if answer is None else [*keep, answer]
        self.columns = dict(zip(self._columns(), self._places(aside), strict=True))
        self.answer = None if answer is None else names.index(answer)
        self._grey: bool | None = None  # whether pixels go from 0 to 255

    def _columns(self) -> Sequence[Column]:
        return self.spec.columns or [column_of(place) for place in range(self.spec.n_features)]

    def _places(self, aside: Sequence[str]) -> list[int | None]:
        """Return where each of the network's columns is."""
        names, spec, name = self.table.names, self.spec, self.table.name
        if not spec.columns:
            free = [place for place, column in enumerate(names) if column not in aside]
            if len(free) != spec.n_features:
                raise UserError(
                    f"{name} has {len(free)} columns, and the network {spec.n_features} inputs "
                    "without names; give one column for each, in their order (others are left "
                    "aside by --keep)"
                )
            return list(free)
        known = spec.column_names
        own = [
            place for place, column in enumerate(names) if column in known or column not in aside
        ]
        try:
            found = spec.match(
                [names[place] for place in own],
                may_lack=spec.keeps_missing,
                remedy="leave it out, name it by --keep",
            )
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        if all(place is None for place in found):
            raise UserError(
                f"{name} has none of the network's columns; {nearest(names[0], known)}"
            )
        return [None if place is None else own[place] for place in found]

    def parts(self) -> Iterator[Part]:
        """Yield the rows, a part after the other.

        Raises:
            UserError: If the table is damaged, or holds what it should not.
        """
        found = [*self.columns.values(), *self.kept.values(), self.answer]
        places = sorted({place for place in found if place is not None})
        at = {place: index for index, place in enumerate(places)}
        first = 0
        for block in self.table.blocks(places):
            with self._numbering(first):
                x = torch.from_numpy(self.spec.encode(self._read(block, at)))
                y = None if self.answer is None else self._read_answers(block[at[self.answer]])
            yield Part(x, y, {name: block[at[place]] for name, place in self.kept.items()})
            first += len(x)

    @contextmanager
    def _numbering(self, first: int) -> Iterator[None]:
        """Name the table in an error of the body, of one block, and number its row from 1.

        Args:
            first: How many rows were before the block.
        """
        try:
            yield
        except RowError as error:
            raise UserError(
                f"{self.table.name}: {error.numbered(first + error.row + 1)}"
            ) from None
        except UserError as error:
            raise UserError(f"{self.table.name}: {error}") from None

    def _read_answers(self, values: pa.Array) -> Tensor:
        spec, dialect = self.spec, self.table.dialect
        if (target := spec.target) is not None:
            numeric = Column(target.name)
            raw = numeric.encode(to_values(values, numeric, dialect))[:, 0]
            y, missing = ((raw - target.mean) / target.std).astype(np.float32), np.isnan(raw)
        else:
            words = to_values(values, Column(str(spec.label), spec.class_names), dialect)
            labels = spec.given_labels({spec.label: words})
            assert labels is not None  # the column is there
            y, missing = labels, labels < 0
        if missing.any():
            column, row = self.spec.answer_name, int(missing.argmax())
            raise RowError(f"column {column!r} has no value in", row, "; leave out such rows")
        return torch.from_numpy(y)

    def _read(self, block: Block, at: Mapping[int, int]) -> Any:
        values = {
            column.name: to_values(block[at[place]], column, self.table.dialect)
            for column, place in self.columns.items()
            if place is not None
        }
        if self.spec.columns:
            return values
        rows = np.column_stack(list(values.values()))
        return rows if self.spec.pixel_range is None else self._read_pixels(rows)

    def _read_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels between 0 and 1 where they are from 0 to 255, as the first block tells."""
        if pixels.dtype == object or self.spec.pixel_range != (0, 1):
            return pixels
        if self._grey is None:
            whole = bool(((pixels >= 0) & (pixels <= 255) & (pixels % 1 == 0)).all())
            self._grey = whole and pixels.max() > 1
        if not self._grey:
            return pixels
        strange = ~((pixels >= 0) & (pixels <= 255)) & ~np.isnan(pixels)
        if strange.any():
            row, place = np.argwhere(strange)[0]
            raise RowError(
                f"pixel {place} is {pixels[row, place]:g} in",
                int(row),
                ", and all must lie between 0 and 255, as others do",
            )
        return unit_pixels(pixels)
