"""Tables and pictures of many runs, each loaded when it is first used.

`variants`, `text`, `plots` and `page` are an ablation's, `crossval` is a
cross-validation's, `tables` and `ranks` are those of one of several tables.
"""

from typing import TYPE_CHECKING

from ugmm._lazy import load_on_use

if TYPE_CHECKING:
    from ugmm.report.study.crossval import (
        crossval_csv,
        crossval_markdown,
        crossval_notes,
        crossval_table,
    )
    from ugmm.report.study.page import html_page
    from ugmm.report.study.plots import final_dots, looks_of, validation_curves
    from ugmm.report.study.ranks import draw_ranks
    from ugmm.report.study.tables import gather, tables_markdown, tables_summary
    from ugmm.report.study.text import (
        caption,
        conclusion,
        runs_csv,
        table_cells,
        variants_csv,
        variants_table,
    )
    from ugmm.report.study.variants import Row, compare_variants

__all__ = [
    "Row",
    "caption",
    "compare_variants",
    "conclusion",
    "crossval_csv",
    "crossval_markdown",
    "crossval_notes",
    "crossval_table",
    "draw_ranks",
    "final_dots",
    "gather",
    "html_page",
    "looks_of",
    "runs_csv",
    "table_cells",
    "tables_markdown",
    "tables_summary",
    "validation_curves",
    "variants_csv",
    "variants_table",
]

_HOME = {
    "Row": "variants",
    "caption": "text",
    "looks_of": "plots",
    "compare_variants": "variants",
    "conclusion": "text",
    "crossval_csv": "crossval",
    "crossval_markdown": "crossval",
    "crossval_notes": "crossval",
    "crossval_table": "crossval",
    "final_dots": "plots",
    "html_page": "page",
    "runs_csv": "text",
    "table_cells": "text",
    "draw_ranks": "ranks",
    "gather": "tables",
    "tables_markdown": "tables",
    "tables_summary": "tables",
    "validation_curves": "plots",
    "variants_csv": "text",
    "variants_table": "text",
}

if not TYPE_CHECKING:  # else any name would pass
    __getattr__, __dir__ = load_on_use(__name__, _HOME)
