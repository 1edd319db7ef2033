"""What went wrong: the test rows that the network was most wrong about, with what they hold."""

import io
from collections.abc import Sequence

import matplotlib.image
import numpy as np

from ugmm.answers import DENSITY
from ugmm.report.escaping import for_html
from ugmm.report.page import Html, data_uri, heading, paragraph, table
from ugmm.report.run.page.facts import RunFacts, cut, number
from ugmm.report.tables import NONE, Cells, format_count
from ugmm.spec import Spec

__all__ = ["STYLE", "mistakes"]

_ROWS, _IMAGES = 12, 24
_LEAST_SURE = 5  # rows, where none is wrong
_COLUMNS = 12  # of the data's own: the first ones

STYLE = """
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr));
  gap: 1rem .75rem; margin: 1rem 0 1.5rem; }
.tiles figure { margin: 0; }
.tiles img { width: 100%; image-rendering: pixelated; border: 1px solid var(--grid);
  border-radius: .25em; display: block; }
.tiles figcaption { line-height: 1.35; padding-top: .25rem; }
"""


def mistakes(facts: RunFacts) -> list[Html]:
    """Return the rows that were classified wrongly, predicted badly, or found least likely."""
    if facts.spec is None:
        return []
    if not facts.answers:
        why = (
            "this run has not ended" if not facts.summary else "its folder has no predictions.csv"
        )
        return [paragraph(f"What was predicted of each test row is not known: {why}.")]
    parts = []
    if facts.data is None:
        parts.append(
            paragraph(
                f"The data could not be read, so what rows hold is left out: {facts.lost}",
                "warning",
            )
        )
    if (numbers := facts.numbers) is not None:
        parts += _residuals(facts, facts.spec, numbers)
    if (posterior := facts.posterior) is not None:
        parts += _misclassified(facts, facts.spec, posterior)
    if DENSITY in facts.answers:
        parts += _unlikely(facts, facts.spec)
    return parts


def _misclassified(facts: RunFacts, spec: Spec, posterior: np.ndarray) -> list[Html]:
    truth, taken = facts.classes_of("truth"), facts.classes_of("prediction")
    sure = posterior[np.arange(len(taken)), taken]
    names = [cut(name, 60) for name in spec.class_names]
    wrong = np.flatnonzero(truth != taken)
    if len(wrong):
        order = wrong[np.argsort(-sure[wrong], kind="stable")]
        said = (
            f"{format_count(len(wrong), 'test row')} of {len(truth):,} got the wrong class. Those "
            "that the network was surest of come first."
        )
    else:
        order = np.argsort(sure, kind="stable")[:_LEAST_SURE]
        said = (
            f"None of {len(truth):,} test rows got the wrong class. These are the ones that the "
            "network was least sure of."
        )
    rows = _Rows(("truth", "prediction", "p(prediction)", "p(truth)"))
    for i in order[: _most(spec)]:
        true, named = names[truth[i]], names[taken[i]]
        cells = [true, named, f"{sure[i]:.4f}", f"{posterior[i, truth[i]]:.2g}"]
        rows.add(i, cells, f"{true}, taken for {named}", f"p = {sure[i]:.3f}")
    title = "Wrongly classified" if len(wrong) else "The least sure"
    return [heading(title, 3), paragraph(said), *rows.show(facts, spec)]


def _residuals(facts: RunFacts, spec: Spec, numbers: Sequence[np.ndarray]) -> list[Html]:
    truth, mean, low, high = numbers
    off = mean - truth
    missed = int(((truth < low) | (truth > high)).sum())
    said = (
        f"The test rows whose predictions are furthest off come first. Of all {len(truth):,}, "
        f"{missed:,} lie outside their 90% intervals."
    )
    rows = _Rows(("truth", "prediction", "off by", "90% interval"))
    for i in np.argsort(-np.abs(off), kind="stable")[: _most(spec)]:
        true, predicted, error = number(truth[i]), number(mean[i]), f"{off[i]:+.6g}"
        cells = [true, predicted, error, f"{number(low[i])} to {number(high[i])}"]
        rows.add(i, cells, f"{true}, predicted {predicted}", f"off by {error}")
    return [heading("The largest errors", 3), paragraph(said), *rows.show(facts, spec)]


def _unlikely(facts: RunFacts, spec: Spec) -> list[Html]:
    density, truth = facts.answers[DENSITY], facts.answers.get("truth")
    said = (
        "The test rows that the density finds least likely, by log p in nats and the data's own "
        f"units; half of all {len(density):,} lie above {np.median(density):.4g}."
    )
    rows = _Rows(("log p",) if truth is None else ("log p", "truth"))
    for i in np.argsort(density, kind="stable")[: _most(spec)]:
        log_p, true = f"{density[i]:#.4g}", [] if truth is None else [cut(str(truth[i]), 60)]
        rows.add(i, [log_p, *true], "".join(true), f"log p = {log_p}")
    return [heading("The least likely rows", 3), paragraph(said), *rows.show(facts, spec)]


def _most(spec: Spec) -> int:
    return _IMAGES if spec.image_shape else _ROWS


class _Rows:
    """Rows of the test, with what is told of each.

    Arguments:
        columns: What is told, by name.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns
        self.places: list[int] = []
        self.cells: list[list[str]] = []
        self.captions: list[tuple[str, ...]] = []

    def add(self, place: int, cells: list[str], *caption: str) -> None:
        """Add a row.

        Args:
            place: Which line of `predictions.csv` it is.
            cells: What is told, in a table.
            caption: The same below an image, in lines.
        """
        self.places.append(int(place))
        self.cells.append(cells)
        self.captions.append(caption)

    def show(self, facts: RunFacts, spec: Spec) -> list[Html]:
        """Return the rows as images, or as a table with what they hold."""
        numbers = [int(n) for n in facts.answers["row"][self.places]]
        held = None if facts.data is None else facts.data.find(numbers)
        if held is not None and spec.image_shape is not None:
            captions = [
                [*filter(None, lines), f"row {n}"]
                for lines, n in zip(self.captions, numbers, strict=True)
            ]
            return [_tiles(spec, held, captions)]
        own: list[str] = []
        values: list[list[str]] = [[]] * len(numbers)
        if held is not None:
            columns = [column.name for column in spec.columns] or map(str, range(held.shape[1]))
            own = [cut(name) for name in columns][:_COLUMNS]
            values = [_cells(row[:_COLUMNS]) for row in held]
        lines = [
            [str(n), *cells, *of_row]
            for n, cells, of_row in zip(numbers, self.cells, values, strict=True)
        ]
        texts = {"truth", "prediction"} if spec.target is None else ()
        shown = [table(Cells(["row", *self.columns, *own], lines), texts)]
        if held is not None and held.shape[1] > _COLUMNS:
            more = f"The first {_COLUMNS} of {held.shape[1]:,} columns are shown."
            shown.append(paragraph(more, "note"))
        return shown


def _cells(row: np.ndarray) -> list[str]:
    """Return a raw row as texts."""
    return [cut(v, 60) if isinstance(v, str) else NONE if np.isnan(v) else number(v) for v in row]


def _tiles(spec: Spec, rows: np.ndarray, captions: Sequence[Sequence[str]]) -> Html:
    """Return images, side by side."""
    assert spec.image_shape is not None
    low, high = spec.pixel_range or (float(rows.min()), float(rows.max()))
    tiles = []
    for row, caption in zip(rows.astype(np.float64), captions, strict=True):
        png = io.BytesIO()
        image = row.reshape(spec.image_shape)
        matplotlib.image.imsave(png, image, cmap="gray", vmin=low, vmax=high, format="png")
        tiles.append(
            f'<figure><img src="{data_uri(png.getvalue())}" alt="{for_html(", ".join(caption))}">'
            f"<figcaption>{'<br>'.join(map(for_html, caption))}</figcaption></figure>"
        )
    return Html(f'<div class="tiles">{"".join(tiles)}</div>')
