"""What went wrong: the test rows that the network was most wrong about, with what they hold."""

import io
from collections.abc import Sequence

import matplotlib.image
import numpy as np

from ugmm.report.escaping import for_html
from ugmm.report.page import Html, data_uri, heading, paragraph, table, wide
from ugmm.report.run.page.facts import RunFacts, cut, number
from ugmm.report.tables import NONE, Cells, format_count
from ugmm.spec import Spec

__all__ = ["STYLE", "mistakes"]

_ROWS, _IMAGES = 12, 24
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
                f"What these rows hold is left out, since the data could not be read: {facts.lost}",
                "warning",
            )
        )
    if "lower_90" in facts.answers:
        parts += _residuals(facts, facts.spec)
    if (posterior := facts.posterior) is not None:
        parts += _misclassified(facts, facts.spec, posterior)
    if "log_density" in facts.answers:
        parts += _unlikely(facts, facts.spec)
    return parts


def _misclassified(facts: RunFacts, spec: Spec, posterior: np.ndarray) -> list[Html]:
    truth, taken = facts.classes_of("truth"), posterior.argmax(axis=1)
    sure, names = posterior.max(axis=1), spec.class_names
    wrong = np.flatnonzero(truth != taken)
    if len(wrong):
        order = wrong[np.argsort(-sure[wrong], kind="stable")]
        said = (
            f"{format_count(len(wrong), 'test row')} of {len(truth):,} got the wrong class. Those "
            "that the network was surest of come first"
        )
    else:
        order = np.argsort(sure, kind="stable")[:5]
        said = f"None of {len(truth):,} test rows got the wrong class. Those it was least sure of"
    shown = order[: _shown(spec)]
    told = [
        [
            cut(names[truth[i]]),
            cut(names[taken[i]]),
            f"{sure[i]:.4f}",
            f"{posterior[i, truth[i]]:.2g}",
        ]
        for i in shown
    ]
    columns = ["truth", "prediction", "p(prediction)", "p(truth)"]
    titled = heading("Wrongly classified" if len(wrong) else "The least sure", 3)
    return [titled, paragraph(f"{said}."), _rows(facts, spec, shown, columns, told)]


def _residuals(facts: RunFacts, spec: Spec) -> list[Html]:
    truth, mean, low, high = (
        facts.answers[name] for name in ("truth", "prediction", "lower_90", "upper_90")
    )
    off = mean - truth
    order = np.argsort(-np.abs(off), kind="stable")[: _shown(spec)]
    missed = int(((truth < low) | (truth > high)).sum())
    told = [
        [number(truth[i]), number(mean[i]), f"{off[i]:+.4g}", f"{low[i]:.4g} to {high[i]:.4g}"]
        for i in order
    ]
    said = (
        f"The test rows whose predictions are furthest off come first. Of all {len(truth):,}, "
        f"{missed:,} lie outside their 90% intervals."
    )
    columns = ["truth", "prediction", "off by", "90% interval"]
    parts = [heading("The largest errors", 3), paragraph(said)]
    return [*parts, _rows(facts, spec, order, columns, told)]


def _unlikely(facts: RunFacts, spec: Spec) -> list[Html]:
    density = facts.answers["log_density"]
    order = np.argsort(density, kind="stable")[: _shown(spec)]
    said = (
        f"The test rows that the density finds least likely, by log p in nats and the data's own "
        f"units; half of all {len(density):,} lie above {np.median(density):.4g}."
    )
    truth = facts.answers.get("truth")
    told = [[f"{density[i]:.4g}", *([] if truth is None else [cut(str(truth[i]))])] for i in order]
    columns = ["log p", *([] if truth is None else ["truth"])]
    parts = [heading("The least likely rows", 3), paragraph(said)]
    return [*parts, _rows(facts, spec, order, columns, told)]


def _shown(spec: Spec) -> int:
    return _IMAGES if spec.image_shape else _ROWS


def _rows(
    facts: RunFacts,
    spec: Spec,
    places: np.ndarray,
    columns: Sequence[str],
    told: Sequence[Sequence[str]],
) -> Html:
    """Show rows with what is told of them: as images, or in a table with what they hold.

    Args:
        facts: Of the run.
        spec: What a row is.
        places: Which lines of `predictions.csv` they are.
        columns: What is told, by name.
        told: That of each row.
    """
    numbers = facts.answers["row"][places]
    rows = None if facts.data is None else facts.data.find(numbers.tolist())
    if rows is not None and spec.image_shape is not None:
        return _tiles(spec, rows, numbers, columns, told)
    own = [] if rows is None else [column.name for column in spec.columns[:_COLUMNS]]
    if rows is not None and not own:
        own = [f"feature {place}" for place in range(min(rows.shape[1], _COLUMNS))]
    header = ["row", *columns, *map(cut, own)]
    values = [[]] * len(places) if rows is None else [_cells(row[:_COLUMNS]) for row in rows]
    lines = [[f"{n}", *cells, *held] for n, cells, held in zip(numbers, told, values, strict=True)]
    shown = table(
        Cells(header, lines), {"truth", "prediction"} if facts.posterior is not None else ()
    )
    if rows is None or rows.shape[1] <= _COLUMNS:
        return shown
    note = f"The first {_COLUMNS} of {rows.shape[1]:,} columns are shown."
    return Html(shown + paragraph(note, "note"))


def _cells(row: np.ndarray) -> list[str]:
    """Return a raw row as texts."""
    return [cut(v, 60) if isinstance(v, str) else NONE if np.isnan(v) else number(v) for v in row]


def _tiles(
    spec: Spec,
    rows: np.ndarray,
    numbers: np.ndarray,
    columns: Sequence[str],
    told: Sequence[Sequence[str]],
) -> Html:
    assert spec.image_shape is not None
    low, high = spec.pixel_range or (float(rows.min()), float(rows.max()))
    tiles = []
    for pixels, n, cells in zip(rows.astype(float), numbers, told, strict=True):
        png = io.BytesIO()
        image = pixels.reshape(spec.image_shape)
        matplotlib.image.imsave(png, image, cmap="gray", vmin=low, vmax=high, format="png")
        said = ", ".join(f"{name} {cell}" for name, cell in zip(columns, cells, strict=True))
        text = f"row {n}: {said}"
        tiles.append(
            f'<figure><img src="{data_uri(png.getvalue())}" alt="{for_html(f"test image {n}")}">'
            f"<figcaption>{for_html(text)}</figcaption></figure>"
        )
    return Html(f'<div class="tiles">{"".join(tiles)}</div>')
