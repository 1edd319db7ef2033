"""How well a run tells classes apart, and how well it predicts numbers: in words and tables."""

from collections.abc import Sequence

import numpy as np

from ugmm.report.escaping import for_html
from ugmm.report.page import Html, drawing, fold, heading, paragraph, table, wide
from ugmm.report.run.page.facts import RunFacts, cut
from ugmm.report.run.page.pictures import RELIABILITY
from ugmm.report.run.predictions import predicted_numbers, reliability_diagram
from ugmm.report.tables import NONE, Cells, format_count
from ugmm.spec import Target

__all__ = ["STYLE", "predictions"]

_SQUARE = 16  # classes, whose confusions are shown in a square; of more, the most frequent ones
_FREQUENT = 12
_HEAD = 20  # letters of a name above a column
_SURE = (0.9, 0.99, 0.999)

STYLE = """
.square td, .square thead th { text-align: center; min-width: 2.2rem; }
.square td { background: color-mix(in srgb, var(--first) var(--share), transparent);
  print-color-adjust: exact; }
.square td.none { background: none; color: var(--muted); }
.square tr > th:first-child { position: sticky; left: 0; background: var(--paper);
  max-width: 9rem; }
"""


def predictions(facts: RunFacts) -> list[Html]:
    """Return what the test said of classes, or of the numbers that were predicted."""
    parts: list[Html] = []
    if facts.confusion is not None and len(facts.confusion[0]) > 1:
        classes = [cut(name, 60) for name in facts.confusion[0]]
        counts = np.array(facts.confusion[1])
        parts += _confusions(classes, counts)
        parts += _class_table(classes, counts)
    if (posterior := facts.posterior) is not None:
        parts += _calibration(
            posterior.max(axis=1), facts.answers["truth"] == facts.answers["prediction"]
        )
    if facts.numbers is not None and facts.spec is not None and facts.spec.target is not None:
        parts += _numbers(facts.numbers, facts.spec.target)
    return parts


def _confusions(classes: Sequence[str], counts: np.ndarray) -> list[Html]:
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    order = np.argsort(wrong, axis=None)[::-1][: _FREQUENT if len(classes) > _SQUARE else 3]
    pairs = [divmod(int(place), len(classes)) for place in order if wrong.flat[place]]
    if not pairs:
        said = f"All of the {counts.sum():,} test rows are classified correctly."
    else:
        most = "; ".join(
            f"{classes[true]} taken for {classes[taken]} "
            f"({wrong[true, taken]:,} of {counts[true].sum():,})"
            for true, taken in pairs[:3]
        )
        said = f"{format_count(int(wrong.sum()), 'row')} wrong. Most often: {most}."
    parts = [heading("Which classes are taken for which", 3), paragraph(said)]
    if len(classes) <= _SQUARE:
        parts.append(_square(classes, counts))
        parts.append(
            paragraph(
                "A line a true class, a column a predicted one, test rows in the cells; the "
                "shade is the share of the line.",
                "note",
            )
        )
    elif pairs:
        rows = [
            [classes[true], classes[taken], f"{wrong[true, taken]:,}", f"{counts[true].sum():,}"]
            for true, taken in pairs
        ]
        header = ["true class", "taken for", "rows", "of"]
        parts.append(table(Cells(header, rows), {"taken for"}))
    return parts


def _square(classes: Sequence[str], counts: np.ndarray) -> Html:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    heads = (for_html(cut(name, _HEAD)) for name in classes)
    head = "".join(f'<th scope="col" dir="auto">{name}</th>' for name in heads)
    lines = []
    for name, row, share in zip(classes, counts, shares, strict=True):
        cells = "".join(
            # A third of the shade for the first of a thousand: errors are rare, and what matters.
            f'<td style="--share: {45 * of**0.25:.0f}%">{n:,}</td>'
            if n
            else '<td class="none">0</td>'
            for n, of in zip(row.tolist(), share.tolist(), strict=True)
        )
        lines.append(f'<tr><th scope="row" dir="auto">{for_html(name)}</th>{cells}</tr>')
    return wide(
        Html(
            f'<table class="square"><thead><tr><th scope="col">true \\ predicted</th>{head}</tr>'
            f"</thead><tbody>{''.join(lines)}</tbody></table>"
        )
    )


def _class_table(classes: Sequence[str], counts: np.ndarray) -> list[Html]:
    right, rows, taken = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    lines = [
        [
            name,
            f"{n:,}",
            f"{hits / named:.1%}" if named else NONE,
            f"{hits / n:.1%}" if n else NONE,
            f"{2 * hits / (n + named):.3f}" if n + named else NONE,
        ]
        for name, hits, n, named in zip(classes, right, rows, taken, strict=True)
    ]
    header = ["class", "test rows", "precision", "recall", "F1"]
    body = [
        table(Cells(header, lines)),
        paragraph(
            "Precision: the share of the rows that were taken for a class that are of it. Recall: "
            "the share of the rows of a class that were taken for it. F1: their harmonic mean.",
            "note",
        ),
    ]
    if len(classes) > _SQUARE:
        return [fold(f"Precision and recall of each of the {len(classes)} classes", body)]
    return [heading("Each class", 3), *body]


def _calibration(sure: np.ndarray, right: np.ndarray) -> list[Html]:
    confidence, accuracy = float(sure.mean()), float(right.mean())
    gap = confidence - accuracy
    error = float(np.sqrt(np.mean(sure * (1 - sure)) / len(sure)))  # of accuracy, if calibrated
    verdict = f"{len(sure):,} rows do not tell the two apart"
    if abs(gap) > 2 * error:
        verdict = "it is surer than right" if gap > 0 else "it is right more often than sure"
    said = (
        f"On average the network gives its choice a probability of {confidence:.1%} and is right "
        f"in {accuracy:.1%}: {verdict}."
    )
    level = next((p for p in reversed(_SURE) if (sure >= p).sum() >= len(sure) // 10), None)
    if level is not None:
        rows = sure >= level
        said += (
            f" Of the {rows.sum():,} rows of which it is {100 * level:g}% sure or more, "
            f"{int((rows & ~right).sum()) or 'none'} are wrong."
        )
    diagram = drawing(reliability_diagram(sure, right), "reliability", RELIABILITY)
    return [heading("How sure it is", 3), paragraph(said), diagram]


def _numbers(numbers: Sequence[np.ndarray], target: Target) -> list[Html]:
    true, mean, low, high = numbers
    figure = predicted_numbers(true, mean, low, high, target)
    shown = (
        "The predicted mean of test rows against what was true, and the interval that should hold "
        "it with a probability of 90%. On the dashed line, prediction and truth are the same."
    )
    return [drawing(figure, "predicted", shown)]
