"""A run's page: one HTML file that says what it is, what came of it, and what went wrong."""

from ugmm.report.page import Html, document, heading
from ugmm.report.run.page import classes, mistakes
from ugmm.report.run.page.data import data
from ugmm.report.run.page.facts import DataFacts, RunFacts, read_facts
from ugmm.report.run.page.figures import figures, introduction
from ugmm.report.run.page.origin import origin, settings
from ugmm.report.run.page.pictures import curves, pictures

__all__ = ["DataFacts", "RunFacts", "read_facts", "run_page"]

_SECTIONS = {
    "The final figures": figures,
    "Predictions": classes.predictions,
    "What it got wrong": mistakes.mistakes,
    "Training": curves,
    "Pictures": pictures,
    "The data": data,
    "Settings": settings,
    "Where it ran": origin,
}


def run_page(facts: RunFacts) -> str:
    """Return the page of a run."""
    parts: list[Html] = introduction(facts)
    for title, section in _SECTIONS.items():
        if body := section(facts):
            parts += [heading(title), *body]
    return document(facts.title, parts, classes.STYLE + mistakes.STYLE)
