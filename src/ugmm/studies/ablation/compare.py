"""The command `ugmm compare`: what an ablation's runs say, as tables, pictures and a page."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from ugmm.config.files import project_root
from ugmm.errors import UserError
from ugmm.report.escaping import for_markdown, for_rich, markdown_code
from ugmm.report.statistics import Record
from ugmm.report.study.variants import Row, compare_variants
from ugmm.runs import Run
from ugmm.studies.ablation.definition import Ablation
from ugmm.studies.ablation.file import read_ablation
from ugmm.studies.ablation.records import (
    check_metric,
    describe_lacking,
    describe_machines,
    list_variants,
    read_records,
)
from ugmm.studies.ablation.searching.search import settle
from ugmm.studies.results import publish_section
from ugmm.writing import make_folder, write_atomic

__all__ = ["compare_ablation"]

_WIDTH = 110  # columns, where the output is no terminal


def compare_ablation(
    name: str, *, publish: bool = False, vector: Literal["pdf", "svg"] | None = None
) -> None:
    """Compare the variants of an ablation; write tables, pictures and a page beside its runs.

    Args:
        name: Of a file in `experiments/ablations/`, or a YAML file.
        publish: Also write the ablation's section of `experiments/RESULTS.md`.
        vector: As what vector graphic the pictures are to be written, too.

    Raises:
        UserError: If the file is wrong, if nothing has been run, or if no run has the metric.
    """
    ablation, chosen = settle(read_ablation(name))
    ledger = ablation.open_ledger()
    records, notes = read_records(ablation, ledger)
    runs = ledger.folder.parent
    if not records:
        raise UserError(
            f"{runs} holds no finished run of {ablation.path}; start it with: ugmm ablate {name}"
        )
    settings = ablation.settings
    for metric in dict.fromkeys((settings.metric, *settings.report)):
        check_metric(metric, records, ablation.path)
        notes += describe_lacking(metric, records, of_all=metric == settings.metric)
    notes += describe_machines(records) + chosen
    baseline = settings.baseline or next(iter(list_variants(ablation, ledger)))
    report = _Report(ablation, baseline, records, notes, name)
    folder = runs / "compare"
    report.show()  # first: it can be read where nothing can be written
    report.write(folder, vector)
    sys.stdout.write(f"the same as a page, with curves: {folder / 'index.html'}\n")
    if publish:
        report.publish(ablation.name, folder)


class _Report:
    """What is shown and written of one ablation.

    Arguments:
        ablation: Which it is.
        baseline: The variant that others are compared with.
        records: The finished runs.
        notes: Sentences to stand below the tables.
        name: How the ablation was named on the command line.
    """

    def __init__(
        self, ablation: Ablation, baseline: str, records: list[Record], notes: list[str], name: str
    ) -> None:
        from ugmm.report.study.text import caption, conclusion, table_cells

        metric, report = ablation.settings.metric, ablation.settings.report
        self.title, self.goal = ablation.title, ablation.goal
        self.name, self.baseline = name, baseline
        self.metric, self.report, self.records = metric, report, records
        self.rows: list[Row] = compare_variants(records, metric, self.goal, baseline, report)
        self.tables = table_cells(self.rows, metric, report, baseline)
        self.caption = caption(self.rows, baseline)
        self.conclusion = conclusion(self.rows, metric, self.goal, baseline)
        best = (max if self.goal == "max" else min)(self.rows, key=lambda row: row.metric.mean)
        self.notes = [*notes, f"The best run of {best.variant}: {best.best}."]

    def show(self) -> None:
        """Print the tables."""
        from rich.console import Console

        from ugmm.report.study.text import variants_table

        console = Console(width=None if sys.stdout.isatty() else _WIDTH)
        for index, cells in enumerate(self.tables):
            console.print(variants_table(cells, "" if index else self.title))
        for text in (self.caption, self.conclusion, *self.notes):
            console.print(for_rich(text, "dim" if text is self.caption else ""))

    def write(self, folder: Path, vector: str | None = None) -> None:
        """Write tables, pictures and the page into a folder."""
        from ugmm.report.study.page import html_page
        from ugmm.report.study.plots import colours_of, final_dots, validation_curves
        from ugmm.report.study.text import runs_csv, variants_csv
        from ugmm.report.style import save
        from ugmm.report.tables import format_markdown

        metric, report = self.metric, self.report
        make_folder(folder)
        write_atomic(folder / "table.csv", variants_csv(self.rows, report))
        names = [*dict.fromkeys((metric, *report, "seconds", "parameters"))]
        write_atomic(folder / "runs.csv", runs_csv(self.records, names))
        tables = "\n\n".join(map(format_markdown, self.tables))
        write_atomic(folder / "table.md", f"{tables}\n\n{for_markdown(self.caption)}\n")
        histories: dict[str, list[Any]] = {row.variant: [] for row in self.rows}
        for record in self.records:
            if record.variant in histories:
                histories[record.variant].append(Run(record.folder).read_metrics())
        twins = _curves(metric, histories)
        colours = colours_of(self.rows, self.goal, self.baseline)
        dots = final_dots(self.rows, self.records, metric, self.baseline, self.title, colours)
        curves = validation_curves(histories, twins, self.title, colours)
        for kind in ("png", vector) if vector else ("png",):
            save(dots, folder / f"final.{kind}")
            save(curves, folder / f"curves.{kind}")
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
        """Write the section of the page of results, and its picture."""
        from ugmm.report.tables import format_markdown

        root = project_root()
        pictures = root / "docs" / "images" / "ablations"
        make_folder(pictures)
        write_atomic(pictures / f"{name}.png", (folder / "final.png").read_bytes())
        title, command = for_markdown(self.title), markdown_code(f"ugmm compare {self.name}")
        lines = [f"### {title}", "", command, "", for_markdown(self.conclusion), ""]
        for cells in self.tables:
            lines += [format_markdown(cells), ""]
        lines += [f"![{title}](../docs/images/ablations/{quote(name)}.png)", ""]
        lines += [for_markdown(self.caption), ""]
        lines += [f"- {for_markdown(note)}" for note in self.notes]
        path = publish_section(root, name, "\n".join(lines))
        sys.stdout.write(f"published in {path}\n")


def _curves(metric: str, histories: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return what is drawn of the validations: the metric, and how likely what is true was."""
    logged = {key for runs in histories.values() for run in runs for row in run[:1] for key in row}
    likely = [key for key in ("val/nll", "val/nlpd") if key in logged] or ["val/nll"]
    return list(dict.fromkeys([f"val/{metric.rpartition('/')[2]}", *likely]))
