"""The command `ugmm compare`: what an ablation's runs say, as tables, pictures and a page."""

import math
import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ugmm.config.files import project_root
from ugmm.errors import UserError, nearest
from ugmm.report.statistics import Record
from ugmm.report.study.variants import Row, compare_variants
from ugmm.runs import Run, replacing, write_atomic
from ugmm.studies.ablation.definition import (
    Ablation,
    Plan,
    Point,
    Settings,
    read_ablation,
    said_of,
)
from ugmm.studies.ablation.ledger import Board

__all__ = ["compare"]

_WIDTH = 110  # columns, where the output is no terminal

_HEADING = """# Results of the ablations

Each section is what its command wrote, from the runs of `ugmm ablate NAME`; nothing here is
written by hand. How to read the columns stands below each table.
"""


def compare(name: str, *, publish: bool = False) -> None:
    """Compare the variants of an ablation; write tables, pictures and a page beside its runs.

    Args:
        name: Of a file in `experiments/ablations/`, or a YAML file.
        publish: Also write the ablation's section of `experiments/ablations/RESULTS.md`.

    Raises:
        UserError: If the file is wrong, if nothing has been run, or if no run has the metric.
    """
    ablation = read_ablation(name)
    plan = ablation.plan()
    records, notes = _records(plan, ablation)
    if not records:
        raise UserError(
            f"{plan.folder.parent} holds no finished run of {ablation.path}; start them by "
            f"ugmm ablate {name}"
        )
    settings = ablation.settings
    for key in dict.fromkeys((settings.metric, *settings.report)):
        _check_figure(key, records, ablation.path)
        notes += _lacking(key, records, of_all=key == settings.metric)
    goal = ablation.goal
    rows = compare_variants(records, settings.metric, goal, settings.baseline, settings.report)
    notes += _machines(records)
    report = _Report(ablation.title, settings, goal, rows, records, notes, name)
    folder = plan.folder.parent / "compare"
    report.write(folder)
    report.show()
    sys.stdout.write(f"the same as a page, with curves: {folder / 'index.html'}\n")
    if publish:
        report.publish(ablation.name, folder)


class _Report:
    """What is shown and written of one ablation."""

    def __init__(
        self,
        title: str,
        settings: Settings,
        goal: str,
        rows: list[Row],
        records: list[Record],
        notes: list[str],
        name: str,
    ) -> None:
        from ugmm.report.study.text import caption, conclusion, table_cells

        self.title, self.settings, self.name = title, settings, name
        self.rows, self.records = rows, records
        self.tables = table_cells(rows, settings.metric, settings.report, settings.baseline)
        self.caption = caption(rows, settings.baseline)
        self.conclusion = conclusion(rows, settings.metric, goal, settings.baseline)
        best = (max if goal == "max" else min)(rows, key=lambda row: row.metric.mean)
        self.notes = [*notes, f"The best run of {best.variant}: {best.best}."]
        self.goal = goal

    def show(self) -> None:
        """Print the tables."""
        from rich.console import Console

        from ugmm.report.study.text import variants_table

        # Names are the user's: "a [b]" is no markup.
        console = Console(width=None if sys.stdout.isatty() else _WIDTH, markup=False, emoji=False)
        for index, cells in enumerate(self.tables):
            console.print(variants_table(cells, "" if index else self.title))
        for text in (self.caption, self.conclusion, *self.notes):
            console.print(text, style="dim" if text is self.caption else None, highlight=False)

    def write(self, folder: Path) -> None:
        """Write tables, pictures and the page into a folder."""
        from ugmm.report.study.page import html_page
        from ugmm.report.study.plots import colours_of, final_dots, validation_curves
        from ugmm.report.study.text import runs_csv, variants_csv
        from ugmm.report.style import save
        from ugmm.report.tables import format_markdown

        metric, report = self.settings.metric, self.settings.report
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "table.csv", variants_csv(self.rows, report))
        names = [*dict.fromkeys((metric, *report, "seconds", "parameters"))]
        write_atomic(folder / "runs.csv", runs_csv(self.records, names))
        tables = "\n\n".join(map(format_markdown, self.tables))
        write_atomic(folder / "table.md", f"{tables}\n\n{self.caption}\n")
        histories: dict[str, list[Any]] = {row.variant: [] for row in self.rows}
        for record in self.records:
            if record.variant in histories:
                histories[record.variant].append(Run(record.folder).read_metrics())
        twins = dict.fromkeys((f"val/{metric.rpartition('/')[2]}", "val/nll"))
        colours = colours_of(self.rows, self.goal, self.settings.baseline)
        dots = final_dots(
            self.rows, self.records, metric, self.settings.baseline, self.title, colours
        )
        curves = validation_curves(histories, list(twins), self.title, colours)
        save(dots, folder / "final.png")
        save(curves, folder / "curves.png")
        figures = {
            "The final metric": (dots, f"{metric} of each variant, with 95% bootstrap intervals"),
            "Validation": (curves, f"{' and '.join(twins)} by epoch, a line a variant"),
        }
        page = html_page(
            self.title,
            self.conclusion,
            self.tables,
            self.caption,
            figures,
            self.notes,
            f"ugmm ablate {self.name} && ugmm compare {self.name}",
        )
        write_atomic(folder / "index.html", page)

    def publish(self, name: str, folder: Path) -> None:
        """Write the section of RESULTS.md, in place of the one that is there, and its picture."""
        from ugmm.report.tables import format_markdown

        root = project_root()
        pictures = root / "docs" / "images" / "ablations"
        pictures.mkdir(parents=True, exist_ok=True)
        with replacing(pictures / f"{name}.png") as temporary:
            shutil.copyfile(folder / "final.png", temporary)
        lines = [f"## {self.title}", "", f"`ugmm compare {self.name}`", "", self.conclusion, ""]
        for cells in self.tables:
            lines += [format_markdown(cells), ""]
        lines += [f"![{self.title}](../../docs/images/ablations/{name}.png)", "", self.caption, ""]
        lines += [f"- {note}" for note in self.notes]
        path = root / "experiments" / "ablations" / "RESULTS.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8") if path.is_file() else _HEADING
        write_atomic(path, _with_section(text, name, "\n".join(lines)))
        sys.stdout.write(f"published in {path}\n")


def _with_section(text: str, name: str, section: str) -> str:
    """Replace a section between its marks, or add it at the end."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    marked = f"{begin}\n{section}\n{end}"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if found.search(text):
        return found.sub(lambda _: marked, text)
    return f"{text.rstrip()}\n\n{marked}\n"


def _records(plan: Plan, ablation: Ablation) -> tuple[list[Record], list[str]]:
    """Read the summaries of the file's points; say how many there are, and which are missing."""
    points, board = plan.points(), Board(plan.folder)
    if ablation.settings.search is not None:
        ablation.rows |= {point.variant: {} for point in points}
        ablation.settings.baseline = next(iter(ablation.rows), "")
    planned: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        planned.setdefault((point.variant, point.repetition), []).append(point)
    records: list[Record] = []
    failed: list[str] = []
    missing: list[str] = []
    used = 0  # points that the file asks for
    first: dict[str, tuple[Mapping[str, int], str]] = {}  # of them, by variant
    for variant, repetition in product(ablation.rows, ablation.repetitions):
        said = said_of(repetition)
        current = _current(ablation, variant, repetition, planned.get((variant, said), []))
        if current is not None:
            used += 1
            first.setdefault(variant, (repetition, current.id))
        if current is None or not (figures := current.run.read_summary()):
            lost = current is not None and board.state(current) == "failed"
            (failed if lost else missing).append(f"{variant}, {said}")
            continue
        figures = {name: value for name, value in figures.items() if math.isfinite(value)}
        seed, fold = repetition["seed"], repetition.get("data.fold")
        records.append(Record(variant, seed, fold, current.run.folder, figures))
    total = len(ablation.rows) * len(ablation.repetitions)
    notes = [f"{len(records)} of {total} runs are finished."]
    if failed:
        notes.append(f"Failed, and left out: {_listed(failed)}.")
    if missing:
        notes.append(f"Not finished, and left out: {_listed(missing)}.")
    if moved := _moved(ablation, first):
        notes.append(
            "What these start from has changed since they were planned; `ugmm ablate` would run "
            f"them anew: {_listed(moved)}."
        )
    if earlier := len(points) - used:
        notes.append(f"{earlier} runs of an earlier version of the file are left out.")
    return records, notes


def _current(
    ablation: Ablation, variant: str, repetition: Mapping[str, int], named: Sequence[Point]
) -> Point | None:
    """Return that of the points planned under one name which the file now asks for."""
    agreeing = [point for point in named if point.agrees(ablation.rows[variant])]
    if len(agreeing) > 1:  # planned before and after a change of the file
        identity = ablation.point(variant, repetition).id
        agreeing = [point for point in agreeing if point.id == identity] or agreeing
    return agreeing[-1] if agreeing else None


def _moved(ablation: Ablation, used: Mapping[str, tuple[Mapping[str, int], str]]) -> list[str]:
    """The variants whose points agree with the file, but not with what it starts from.

    One point of each is composed, which tells of all: that takes a twentieth of a second.
    """
    if ablation.settings.search is not None:
        return []  # the trials' settings stand in the study
    return [
        variant
        for variant, (repetition, identity) in used.items()
        if ablation.point(variant, repetition).id != identity
    ]


def _lacking(key: str, records: Sequence[Record], *, of_all: bool) -> list[str]:
    """Say which finished runs lack a figure: all, or those of variants of which others have it."""
    having = {record.variant for record in records if key in record.figures}
    lacking = [
        f"{r.variant}, seed={r.seed}" + (f" fold={r.fold}" if r.fold is not None else "")
        for r in records
        if key not in r.figures and (of_all or r.variant in having)
    ]
    if not lacking:
        return []
    return [f"Finished, but without a finite {key}, and left out of it: {_listed(lacking)}."]


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return "; ".join(names[:most]) + more


def _machines(records: Sequence[Record]) -> list[str]:
    """Say on what the runs were made."""
    found: dict[str, Counter[str]] = {"commit": Counter(), "machine": Counter()}
    for record in records:
        run = Run(record.folder)
        if not run.environment.is_file():
            continue  # a folder that was copied in part
        environment = run.read_environment()
        git = environment["git"]
        commit = (git["commit"] or "unknown")[:10] + (" with changes" if git["dirty"] else "")
        found["commit"][commit] += 1
        found["machine"][f"{environment['platform']}, {environment['cpus']} CPUs"] += 1
    return [
        f"{kind.capitalize()}: {'; '.join(f'{name} ({n} runs)' for name, n in counts.items())}."
        for kind, counts in found.items()
        if counts
    ]


def _check_figure(key: str, records: Sequence[Record], path: Path) -> None:
    known = {name for record in records for name in record.figures}
    if key not in known:
        raise UserError(f"{path}: no run has a figure {key!r}; {nearest(key, sorted(known))}")
