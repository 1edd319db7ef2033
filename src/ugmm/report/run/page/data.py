"""What a run was trained on: its splits, classes and columns, and what was made of them."""

import math

import numpy as np

from ugmm.errors import list_some
from ugmm.report.page import Html, fold, heading, listed, paragraph, table
from ugmm.report.run.page.facts import RunFacts, cut, number
from ugmm.report.tables import NONE, Cells, format_count
from ugmm.spec import Column, Spec

__all__ = ["data"]

_COLUMNS, _CLASSES = 200, 50  # that are listed
_UNFOLDED = 20  # columns or classes, beyond which they are folded
_CATEGORIES = 8
_SPLITS = {"train": "training", "val": "validation", "test": "test"}


def data(facts: RunFacts) -> list[Html]:
    """Return what is known of the data."""
    parts = [paragraph(_named(facts))]
    if facts.spec is None:
        return [*parts, paragraph("What its rows are is not written down before training starts.")]
    if facts.data is None:
        parts.append(
            paragraph(
                f"The data could not be read, so how many rows there are is not known: "
                f"{facts.lost}",
                "warning",
            )
        )
    parts += _sizes(facts, facts.spec)
    parts += _columns(facts, facts.spec)
    parts += [heading("What was made of it", 3), listed(_preparation(facts, facts.spec))]
    return parts


def _named(facts: RunFacts) -> str:
    settings = facts.settings("data")
    said = f"data={cut(str(settings.get('name')))}"
    if settings.get("path"):
        said += f", from {settings['path']}"
    return f"{said}."


def _sizes(facts: RunFacts, spec: Spec) -> list[Html]:
    if facts.data is None:
        return []
    sizes, classes = facts.data.sizes, facts.data.classes
    splits = [split for split in _SPLITS if split in sizes]
    header = ["rows", *(_SPLITS[split] for split in splits), "all"]
    total = [sizes[split] for split in splits]
    lines = [["all", *(f"{n:,}" for n in (*total, sum(total)))]]
    if len(spec.class_names) > 1:
        for place, name in enumerate(spec.class_names[:_CLASSES]):
            counts = [int(classes[split][place]) for split in splits]
            lines.append([cut(name, 60), *(f"{n:,}" for n in (*counts, sum(counts)))])
    shown = [table(Cells(header, lines))]
    if len(spec.class_names) > _CLASSES:
        shown.append(paragraph(f"The first {_CLASSES} of {spec.n_classes:,} classes.", "note"))
    if len(lines) > _UNFOLDED:
        said = ", ".join(f"{sizes[split]:,} {_SPLITS[split]} rows" for split in splits)
        return [paragraph(f"{said}."), fold("Rows of each class", shown)]
    return shown


def _columns(facts: RunFacts, spec: Spec) -> list[Html]:
    if spec.image_shape is not None:
        low, high = spec.pixel_range or (math.nan, math.nan)
        kind = "black or white" if spec.binary else f"from {low:g} to {high:g}"
        height, width = spec.image_shape
        return [paragraph(f"A row is an image of {height} by {width} pixels, {kind}.")]
    if not spec.columns:
        return [paragraph(f"A row has {format_count(spec.n_features, 'feature')} without names.")]
    header = ["column", "kind", "unit", "mean", "deviation", "least", "greatest", "missing"]
    header.append("categories")
    lines, place = [], 0
    for index, column in enumerate(spec.columns[:_COLUMNS]):
        stop = place + len(column.features)
        mean, std = np.array(spec.mean[place:stop]), np.array(spec.std[place:stop])
        numeric = not column.categories
        scale = [f"{mean[0]:.4g}", f"{std[0]:.4g}"] if numeric and len(std) else [NONE, NONE]
        line = [cut(column.name), "number" if numeric else "category", column.unit or NONE, *scale]
        lines.append([*line, *_observed(facts, index), _shares(column, mean)])
        place = stop
    body = [table(_filled(Cells(header, lines)), {"kind", "unit", "categories"})]
    noted = (
        "Mean, deviation, least and greatest, and shares of categories, are of the training rows"
    )
    body.append(paragraph(f"{noted}; missing values, of all rows.", "note"))
    if len(spec.columns) > _COLUMNS:
        body.append(paragraph(f"The first {_COLUMNS} of {len(spec.columns):,} columns.", "note"))
    title = format_count(len(spec.columns), "column")
    return [fold(title, body)] if len(spec.columns) > _UNFOLDED else [heading(title, 3), *body]


def _filled(cells: Cells) -> Cells:
    """Return a table without the columns that say nothing of any row."""
    kept = [i for i in range(len(cells.header)) if any(row[i] != NONE for row in cells.rows)]
    rows = [[row[i] for i in kept] for row in cells.rows]
    return Cells([cells.header[i] for i in kept], rows)


def _observed(facts: RunFacts, index: int) -> list[str]:
    """Return the least and greatest number of a column, and how many are missing."""
    if facts.data is None:
        return [NONE] * 3
    ends = (float(facts.data.low[index]), float(facts.data.high[index]))
    shown = [NONE if math.isnan(value) else number(value) for value in ends]
    return [*shown, f"{facts.data.missing[index]:,}"]


def _shares(column: Column, mean: np.ndarray) -> str:
    """Return the categories of a column, the most frequent ones first if that is known."""
    names = [cut(name, 40) for name in column.categories]
    if not names or not len(mean):
        return list_some(names, _CATEGORIES) or NONE
    order = np.argsort(-mean, kind="stable")
    return list_some([f"{names[i]} {mean[i]:.1%}" for i in order], _CATEGORIES)


def _preparation(facts: RunFacts, spec: Spec) -> list[str]:
    """Say how the rows were split and turned into what the network sees."""
    settings = facts.settings("data")
    said = [
        _splitting(settings.get("folds"), settings.get("fold"), settings.get("val_fraction")),
        f"The last {settings['val_size']:,} of the training images are held out for validation."
        if settings.get("val_size")
        else "",
        "Each feature has the mean of the training rows subtracted, and is divided by their "
        "standard deviation."
        if spec.std
        else "Features are as they are in the data.",
        f"The target, {cut(spec.target.name)}, too (mean {number(spec.target.mean)}, deviation "
        f"{number(spec.target.std)}); figures and predictions are in its own unit."
        if spec.target is not None
        else "",
        f"The {len(spec.columns)} columns become {spec.n_features} features: one of 0 and 1 for "
        "each category."
        if any(column.categories for column in spec.columns)
        else "",
        _gaps(str(settings.get("missing", "")), spec),
        f"Left out: {list_some([cut(name) for name in spec.ignored], 10)}."
        if spec.ignored
        else "",
        _rare(str(settings.get("rare", "error"))),
        f"Gaussian noise of deviation {settings['noise']:g} is added to the training rows."
        if settings.get("noise")
        else "",
        f"Training images are moved by up to {settings['max_shift']} pixels."
        if settings.get("max_shift")
        else "",
        "Each pixel was drawn black or white, by its grey level, once." if spec.binary else "",
    ]
    return [text for text in said if text]


def _splitting(folds: object, fold: object, share: object) -> str:
    if not isinstance(folds, int) or not isinstance(share, float | int):
        return ""
    return (
        f"The rows are dealt into {folds} folds at random, by the seed; fold {fold} is the test "
        f"set, and {share:.0%} of the others are held out for validation."
    )


def _gaps(missing: str, spec: Spec) -> str:
    if spec.keeps_missing:
        return "Values that are missing stay so: the network does without them."
    return {
        "mean": "A missing number is replaced by the mean of the training rows; of categories, "
        "what is missing is one of its own, “?”.",
        "drop": "Rows that lack a value are left out.",
    }.get(missing, "")


def _rare(rare: str) -> str:
    return {
        "drop": "Rows of classes too rare to be in every fold are left out.",
        "merge": "Classes too rare to be in every fold are made one.",
    }.get(rare, "")
