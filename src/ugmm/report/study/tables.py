"""The page of a cross-validation of several tables. Imports no torch."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from ugmm.report.comparisons import drop_rounding, rank_models, signed_rank_p
from ugmm.report.escaping import for_markdown, markdown_code
from ugmm.report.statistics import (
    Difference,
    Spread,
    adjust_by_holm,
    average_by_seed,
    measure_spread,
)
from ugmm.report.study.crossval import Fits, crossval_notes, describe_search
from ugmm.report.tables import NONE, Cells, format_markdown, format_p

__all__ = ["METRICS", "Case", "gather", "tables_markdown", "tables_summary"]

METRICS = {"accuracy": "accuracy", "label": "log p(y|z)", "log_prob": "log p(z, y)"}
# Of five signed ranks the least p is 2 / 2**5 > 0.05; and the quantiles of Friedman's and
# Nemenyi's tests are those of many tables (over ten, by Demšar's rule of thumb).
_FEWEST_TABLES = 6


class Case(NamedTuple):
    """A metric of all models that were compared on all tables, at one share of missing cells.

    Attributes:
        metric: `accuracy`, `label` or `log_prob`.
        missing: The share.
        models: Their names.
        tables: The names of the data sets.
        spreads: Over seeds: a list for each table, of each model; None where no fit is known.
        columns: How many columns each table has, the label among them; of a log-density alone,
            which is compared in nats a column. None, too, where fits do not say it of each table,
            as those published by an earlier version: these are compared in nats.
    """

    metric: str
    missing: float
    models: list[str]
    tables: list[str]
    spreads: list[list[Spread | None]]
    columns: list[int] | None = None

    @property
    def title(self) -> str:
        """What it is of."""
        return f"{METRICS[self.metric]}, {self.missing:.0%} of the cells missing"

    @property
    def is_tested(self) -> bool:
        """Whether there are tables enough for tests over them to tell models apart."""
        return len(self.tables) >= _FEWEST_TABLES

    @property
    def ranked(self) -> tuple[list[str], np.ndarray]:
        """The models that have a value on every table, and their means: (tables, models)."""
        known = [all(row[m] is not None for row in self.spreads) for m in range(len(self.models))]
        kept = [m for m, is_known in enumerate(known) if is_known]
        means = [[row[m].mean for m in kept] for row in self.spreads]  # type: ignore[union-attr]
        return [self.models[m] for m in kept], np.array(means)


def gather(report: Mapping[str, Fits], with_density: bool) -> list[Case]:
    """Return what was found, by share and metric.

    Args:
        report: See `ugmm.studies.crossval.nested.cross_validate`.
        with_density: Whether log-densities are compared, too.
    """
    fits = [(model, fit) for model, found in report.items() for fit in found]
    tables = list(dict.fromkeys(fit["data"] for _, fit in fits))
    widths = {fit["data"]: fit["columns"] for _, fit in fits if fit.get("columns") is not None}
    cases = []
    for missing in sorted({fit["missing"] for _, fit in fits}):
        for metric in METRICS:
            known: dict[tuple[str, str], list[tuple[int, float]]] = {}
            for model, fit in fits:
                if fit["missing"] == missing and fit.get(metric) is not None:
                    pair = (fit["seed"], fit[metric])
                    known.setdefault((fit["data"], model), []).append(pair)
            if not known or (metric == "log_prob" and not with_density):
                continue
            models = [m for m in report if any((table, m) in known for table in tables)]
            of = [t for t in tables if any((t, m) in known for m in models)]
            spreads = [
                [measure_spread(average_by_seed(known.get((t, m), ()))) for m in models]
                for t in of
            ]
            is_divided = metric == "log_prob" and all(table in widths for table in of)
            columns = [widths[table] for table in of] if is_divided else None
            cases.append(Case(metric, missing, models, of, spreads, columns))
    return cases


def tables_markdown(
    report: Mapping[str, Fits],
    title: str,
    command: str,
    about: Sequence[str],
    models: Mapping[str, Any],
    cases: Sequence[Case],
    picture: str,
    level: int = 1,
) -> str:
    """Return the page.

    Args:
        report: See `gather`.
        title: The heading.
        command: What made it.
        about: Sentences on data, folds and settings.
        models: By name, see `ugmm.studies.crossval.definition.Model`; the first is compared with
            each other one.
        cases: From `gather`.
        picture: Where the diagram of ranks is.
        level: Of the heading, with which those below it go down.
    """
    first, top = next(iter(models)), "#" * level
    lines = [f"{top} {for_markdown(title)}", "", markdown_code(command), ""]
    lines += [*(f"- {text}" for text in about), ""]
    lines += [f"![Mean ranks of the models]({picture})", ""] if cases else []
    lines += tables_summary(cases, first, level + 1)
    lines += [f"{top}# Each table", "", "Means over seeds (standard errors of the mean).", ""]
    for case in cases:
        lines += [f"{top}## {for_markdown(case.title)}", "", format_markdown(_cells(case)), ""]
    lines += [f"{top}# What each model chose from", ""]
    lines += ["How often each value was chosen stands in brackets.", ""]
    lines += [
        f"- **{for_markdown(name)}**: {describe_search(model, report[name])}"
        for name, model in models.items()
    ]
    lines += ["", f"{top}# What a fit costs", "", format_markdown(_costs(report)), ""]
    if notes := crossval_notes(report):
        lines += [
            f"{top}# What went wrong",
            "",
            *(f"- {for_markdown(note)}" for note in notes),
            "",
        ]
    return "\n".join(lines)


def tables_summary(cases: Sequence[Case], first: str, level: int = 1) -> list[str]:
    """Return lines on how models rank, and on what tests say of the first and each other one.

    Args:
        cases: See `gather`.
        first: The model's name.
        level: Of the headings.
    """
    top, ranks = "#" * level, [line for case in cases for line in _ranks(case)]
    lines = [f"{top} Ranks", "", *(ranks or ["No two models have a value on every table."]), ""]
    tested = [case for case in cases if case.is_tested and first in case.ranked[0]]
    if tested:
        has_density = any(case.columns is not None for case in tested)
        told = _TESTED + _TESTED_DENSITY * has_density
        lines += [f"{top} {for_markdown(first)} beside each other model", "", told, ""]
    for case in tested:
        cells = format_markdown(_compare(case, first))
        lines += [f"{top}# {for_markdown(case.title)}", "", cells, ""]
    return lines


_TESTED = (
    "The difference is the first model's mean less the other's, in the mean over tables; better "
    "and worse count tables. p is of Wilcoxon's signed-rank test over tables, and by Holm's "
    "method over the models of one comparison. Models that lack a table are neither ranked nor "
    "compared."
)
_TESTED_DENSITY = (
    " Differences of log p(z, y) are in nats a column, each table's divided by how many it has, "
    "the label among them: the widest table would else decide on the mean."
)


def _ranks(case: Case) -> list[str]:
    """Return the sentence on the ranks of a case."""
    models, values = case.ranked
    if len(models) < 2:
        return []
    found = rank_models(values)
    shown = ", ".join(
        f"{for_markdown(models[m])} {found.means[m]:.2f}" for m in np.argsort(found.means)
    )
    tested = "" if found.p is None else f"; Friedman's test: p {_equals(found.p)}"
    critical = f"; critical difference (Nemenyi, 5%): {found.critical:.2f}"
    if not case.is_tested:
        tested, critical = f"; not tested: fewer than {_FEWEST_TABLES} tables", ""
    return [
        f"- **{for_markdown(case.title)}** ({len(case.tables)} tables): {shown}{tested}{critical}."
    ]


def _equals(p: float) -> str:
    shown = format_p(p)
    return shown if shown.startswith("<") else f"= {shown}"


def _compare(case: Case, first: str) -> Cells:
    """Return the first model's differences from the others, tested over tables."""
    models, values = case.ranked
    if case.columns is not None:
        values = values / np.array(case.columns)[:, None]
    base, is_share = values[:, models.index(first)], case.metric == "accuracy"
    rows, tested = [], []
    for name, own in zip(models, values.T, strict=True):
        if name == first:
            continue
        differences = drop_rounding(base - own).tolist()
        p = signed_rank_p(differences)
        tested.append(Difference(fmean(differences), None, None, p, None))
        better, worse = (sum(sign * d > 0 for d in differences) for sign in (1, -1))
        mean = fmean(differences)
        shown = f"{100 * mean:+.2f}" if is_share else f"{mean:+.4f}"
        rows.append([name, shown, str(better), str(worse)])
    for row, found in zip(rows, adjust_by_holm(tested), strict=True):
        assert found is not None
        row += [NONE if p is None else format_p(p) for p in (found.p, found.adjusted)]
    difference = "difference (%)" if is_share else "difference"
    return Cells(["model", difference, "better", "worse", "p", "p (Holm)"], rows)


def _cells(case: Case) -> Cells:
    """Return a case as text, a row for each table."""
    digits = 3 if case.metric == "accuracy" else 2

    def cell(found: Spread | None) -> str:
        if found is None:
            return NONE
        error = "" if found.error is None else f" ({found.error:.{digits}f})"
        return f"{found.mean:.{digits}f}{error}"

    rows = [[t, *map(cell, row)] for t, row in zip(case.tables, case.spreads, strict=True)]
    header = ["table", *case.models]
    if case.columns is not None:
        header.append("columns")
        rows = [[*row, str(n)] for row, n in zip(rows, case.columns, strict=True)]
    return Cells(header, rows)


def _costs(report: Mapping[str, Fits]) -> Cells:
    """Return the mean CPU seconds of the chosen fits: a row for each model."""
    tables = list(dict.fromkeys(fit["data"] for fits in report.values() for fit in fits))

    def cell(fits: Fits, table: str) -> str:
        known = [f["seconds"] for f in fits if f["data"] == table and f["error"] is None]
        return f"{fmean(known):.2g}" if known else NONE

    rows = [[model, *(cell(fits, t) for t in tables)] for model, fits in report.items()]
    return Cells(["CPU s", *tables], rows)
