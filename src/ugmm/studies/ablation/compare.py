"""The command `ugmm compare`: what an ablation's runs say, as tables, pictures and a page."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from ugmm.config.files import project_root
from ugmm.errors import UserError
from ugmm.report.escaping import for_markdown, for_rich, markdown_code
from ugmm.report.statistics import Record
from ugmm.report.study.variants import compare_variants, find_counterparts
from ugmm.runs import Run
from ugmm.studies.ablation.definition import Ablation
from ugmm.studies.ablation.file import read_ablation
from ugmm.studies.ablation.records import (
    check_metric,
    describe_lacking,
    describe_published,
    list_variants,
    read_records,
)
from ugmm.studies.ablation.searching.search import settle
from ugmm.studies.published import (
    Origin,
    describe_origins,
    link_published,
    name_file,
    parse_records,
    read_origins,
    read_published,
    tell_runs,
    write_published,
)
from ugmm.studies.results import publish_section
from ugmm.writing import make_folder, write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["compare_ablation"]

_WIDTH = 110  # columns, where the output is no terminal


def compare_ablation(
    name: str,
    *,
    publish: bool = False,
    published: bool = False,
    vector: Literal["pdf", "svg"] | None = None,
) -> None:
    """Compare the variants of an ablation; write tables, pictures and a page beside its runs.

    Args:
        name: Of a file in `experiments/ablations/`, or a YAML file.
        publish: Also write the ablation's section of `experiments/RESULTS.md`, and what is kept
            of its runs (see `ugmm.studies.published`). What was kept earlier of runs that the file
            still asks for stays where their folders are gone.
        published: Read what was kept when it was published in place of run folders; nothing is
            written beside them.
        vector: As what vector graphic the pictures are to be written, too.

    Raises:
        UserError: If the file is wrong, if nothing has been run (or published), or if no run has
            the metric.
    """
    ablation = read_ablation(name)
    if published:
        report = _read_published(ablation, name)
    else:
        report = _read_runs(ablation, name, add_published=publish)
    report.show()  # first: it can be read where nothing can be written
    if not published:
        folder = ablation.open_ledger().folder.parent / "compare"
        report.write(folder, vector)
        sys.stdout.write(f"the same as a page, with curves: {folder / 'index.html'}\n")
    if publish:
        report.publish(keep=not published)


def _read_runs(ablation: Ablation, name: str, *, add_published: bool) -> "_Report":
    """Read the run folders, and what was published of runs whose folders are gone."""
    asked = ablation
    ablation, chosen = settle(asked)
    ledger = ablation.open_ledger()
    earlier, told = _find_published(ablation, name) if add_published else ([], [])
    records, notes = read_records(ablation, ledger, earlier)
    runs = ledger.folder.parent
    if not records:
        raise UserError(
            f"{runs} holds no finished run of {ablation.path}; start it with: ugmm ablate {name}"
        )
    first = next(iter(list_variants(ablation, ledger)))
    searches = dict(zip(ablation.variants, chosen, strict=False))
    known = dict(zip((record.folder for record in earlier), told, strict=True))
    found = zip(records, read_origins(records), strict=True)
    origins = [origin or known.get(record.folder) for record, origin in found]
    report = _Report(ablation, first, records, origins, searches, notes, name)
    report.trials = {
        f"searches {search.name}": _list_trials(search) for search in asked.searches.values()
    }
    return report


def _find_published(ablation: Ablation, name: str) -> tuple[list[Record], list[Origin | None]]:
    """Return the runs that were published, if any were, and where each comes from."""
    if not (project_root() / name_file(ablation.name)).is_file():
        return [], []
    return _parse_published(ablation, name)[:2]


def _list_trials(search: Ablation) -> str:
    """Return the runs of a search as CSV, a line each."""
    from ugmm.report.study.text import runs_csv

    records, _ = read_records(search, search.open_ledger())
    names = [search.settings.metric, "seconds", "parameters"]
    return runs_csv(records, names, tell_runs(records, read_origins(records), {}))


def _read_published(ablation: Ablation, name: str) -> "_Report":
    """Read what was kept of the runs when they were published."""
    records, origins, searches = _parse_published(ablation, name)
    known = [*ablation.variants, *ablation.families]
    notes = describe_published(known, ablation.repetitions, records)
    first = known[0] if known else records[0].variant
    return _Report(ablation, first, records, origins, searches, notes, name)


def _parse_published(
    ablation: Ablation, name: str
) -> tuple[list[Record], list[Origin | None], dict[str, str]]:
    """Return the runs that were published, where each comes from, and what chose its variant."""
    lines = read_published(project_root(), ablation.name, f"ugmm compare {name} --publish")
    return parse_records(lines, [*ablation.variants, *ablation.families], ablation.name)


class _Report:
    """What is shown and written of one ablation.

    Arguments:
        ablation: Which it is.
        first: The variant that others are compared with if the file names none.
        records: The finished runs.
        origins: Where each of them comes from.
        searches: What is told of the search that chose a variant, by the variant's name.
        notes: Sentences on what is missing, to stand below the tables.
        name: How the ablation was named on the command line.
    """

    def __init__(
        self,
        ablation: Ablation,
        first: str,
        records: list[Record],
        origins: Sequence[Origin | None],
        searches: Mapping[str, str],
        notes: list[str],
        name: str,
    ) -> None:
        from ugmm.report.study.scaling import describe_scaling
        from ugmm.report.study.text import caption, conclusion, runs_csv, table_cells

        metric, report = ablation.settings.metric, ablation.settings.report
        for shown in dict.fromkeys((metric, *report)):
            check_metric(shown, records, ablation.path)
            notes += describe_lacking(shown, records, of_all=shown == metric)
        self.along = ablation.settings.along
        if self.along:
            check_metric(self.along, records, ablation.path)
            notes += describe_scaling(records, metric, self.along)
        self.title, self.goal, self.study = ablation.title, ablation.goal, ablation.name
        baseline = ablation.settings.baseline or first
        self.name, self.baseline = name, baseline
        self.metric, self.report, self.records = metric, report, records
        others = find_counterparts([r.variant for r in records], baseline) if self.along else None
        self.rows = compare_variants(records, metric, self.goal, baseline, report, others)
        self.tables = table_cells(self.rows, metric, report, baseline)
        self.caption = caption(self.rows, baseline)
        self.conclusion = conclusion(self.rows, metric, self.goal, baseline)
        best = (max if self.goal == "max" else min)(self.rows, key=lambda row: row.metric.mean)
        notes += [*describe_origins(origins), *searches.values()]
        self.notes = [*notes, f"The best run of {best.variant}: {best.best}."]
        along = [self.along] if self.along else []
        names = [*dict.fromkeys((metric, *report, *along, "seconds", "parameters"))]
        # Of the searches that chose the variants, as CSV, by name.
        self.trials: dict[str, str] = {}
        self.runs_csv = runs_csv(records, names, tell_runs(records, origins, searches))

    def show(self) -> None:
        """Print the tables."""
        from rich.console import Console

        from ugmm.report.study.text import variants_table

        console = Console(width=None if sys.stdout.isatty() else _WIDTH)
        for index, cells in enumerate(self.tables):
            console.print(variants_table(cells, "" if index else self.title))
        for text in (self.caption, self.conclusion, *self.notes):
            console.print(for_rich(text, "dim" if text is self.caption else ""))

    def draw(self) -> "Figure":
        """Draw the final metric of each variant, or how it falls along what the file names."""
        if self.along:
            from ugmm.report.study.scaling import draw_scaling

            return draw_scaling(self.records, self.metric, self.along, self.title)
        from ugmm.report.study.plots import final_dots, looks_of

        looks = looks_of(self.rows, self.goal, self.baseline)
        return final_dots(self.rows, self.records, self.metric, self.baseline, self.title, looks)

    def describe_picture(self) -> str:
        """Return what `draw` draws."""
        if self.along:
            return f"{self.metric} along {self.along}, a dot a run, a line a family"
        return f"{self.metric} of each variant, with 95% bootstrap intervals"

    def write(self, folder: Path, vector: str | None = None) -> None:
        """Write tables, pictures and the page into a folder."""
        from ugmm.report.study.page import html_page
        from ugmm.report.study.plots import looks_of, validation_curves
        from ugmm.report.study.text import variants_csv
        from ugmm.report.style import save
        from ugmm.report.tables import format_markdown

        metric, report = self.metric, self.report
        make_folder(folder)
        write_atomic(folder / "table.csv", variants_csv(self.rows, report))
        write_atomic(folder / "runs.csv", self.runs_csv)
        tables = "\n\n".join(map(format_markdown, self.tables))
        write_atomic(folder / "table.md", f"{tables}\n\n{for_markdown(self.caption)}\n")
        histories: dict[str, list[Any]] = {row.variant: [] for row in self.rows}
        for record in self.records:
            if record.variant in histories:
                histories[record.variant].append(Run(record.folder).read_metrics())
        twins = _curves(metric, histories)
        final = self.draw()
        curves = validation_curves(
            histories, twins, self.title, looks_of(self.rows, self.goal, self.baseline)
        )
        for kind in ("png", vector) if vector else ("png",):
            save(final, folder / f"final.{kind}")
            save(curves, folder / f"curves.{kind}")
        figures = {
            "The final metric": (final, self.describe_picture()),
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

    def publish(self, *, keep: bool) -> None:
        """Write the section of the page of results, its picture, and what is kept of the runs.

        Args:
            keep: Whether to write the latter, and the trials of searches: not where all this was
                read from it.
        """
        from ugmm.report.style import save

        root, study = project_root(), self.study
        save(self.draw(), root / "docs" / "images" / "ablations" / f"{study}.png")
        if keep:
            for kept, text in {study: self.runs_csv, **self.trials}.items():
                write_published(root, kept, text)
        path = publish_section(root, study, self.format_section())
        sys.stdout.write(f"published in {path}\n")

    def format_section(self) -> str:
        """Return the section of the page of results."""
        from ugmm.report.tables import format_markdown

        title, command = for_markdown(self.title), markdown_code(f"ugmm compare {self.name}")
        lines = [f"### {title}", "", command, "", for_markdown(self.conclusion), ""]
        for cells in self.tables:
            lines += [format_markdown(cells), ""]
        lines += [f"![{title}](../docs/images/ablations/{quote(self.study)}.png)", ""]
        lines += [for_markdown(self.caption), ""]
        lines += [f"- {for_markdown(note)}" for note in self.notes]
        lines.append(f"- {link_published(self.study)}")
        return "\n".join(lines)


def _curves(metric: str, histories: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return what is drawn of the validations: the metric, and how likely what is true was."""
    logged = {key for runs in histories.values() for run in runs for row in run[:1] for key in row}
    likely = [key for key in ("val/nll", "val/nlpd") if key in logged] or ["val/nll"]
    return list(dict.fromkeys([f"val/{metric.rpartition('/')[2]}", *likely]))
