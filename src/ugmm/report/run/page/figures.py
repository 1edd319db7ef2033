"""The final figures of a run, each with what it means; and where one stands that goes on."""

import math
import time
from collections.abc import Mapping

from ugmm.errors import list_some
from ugmm.metrics import find_metric, sort_names
from ugmm.report.page import Html, heading, paragraph, table
from ugmm.report.run.page.facts import RunFacts, cut
from ugmm.report.run.table import ROBUSTNESS_NOTE, robustness_cells
from ugmm.report.statistics import wilson_interval
from ugmm.report.tables import NONE, Cells, format_count, format_time

__all__ = ["figures", "introduction"]

_MEANINGS = {
    "accuracy": "share of rows whose likeliest class is the true one",
    "balanced_accuracy": "the same of each class, then the mean: rare ones count like others",
    "macro_f1": "harmonic mean of precision and recall, then the mean over classes; 1 is perfect",
    "nll": "mean of -log p(true class | row), in nats: 0 if it was always sure and right",
    "ece": "how far, on average, being sure and being right lie apart, in 15 bins of confidence",
    "log_prob": "mean of log p of a row, and of its class if that is modelled, in nats and in the "
    "network's units",
    "bits_per_dim": "mean of -log2 p of a row over the number of its features: what a code spends "
    "on each, at least",
    "log_prob_raw": "the same in the data's own units",
    "score": "mean log-score, in nats; not normalised, and so no log-likelihood: compare it with "
    "no other model's",
    "r2": "share of the targets' variance that is predicted: 1 is all, 0 what their mean does",
    "rmse": "root of the mean squared error of the predicted means{unit}",
    "mae": "mean absolute error of the predicted means{unit}",
    "nlpd": "mean of -log p(target | row), in nats, of the target in its own unit",
    "crps": "how far the predicted distribution lies from the truth, on average{unit}; of a sure "
    "prediction the absolute error",
    "coverage_90": "share of rows whose 90% interval holds the truth: 90% is right",
    "effective_draws": "share of the draws for the normalising constant Z that count in effect",
    "log_z": "log of the normalising constant, by importance sampling, in nats",
    "log_z_error": "its standard error",
    "log_z_sobol": "log of the normalising constant, by Sobol points, in nats: a check",
    "log_z_sobol_error": "its standard error",
}
_GROUPS = ("model", "task", "data")
_GOALS = {"max": "more", "min": "less", None: NONE}


def introduction(facts: RunFacts) -> list[Html]:
    """Return the title, what the run is, what came of it, and what is wrong with it."""
    parts = [heading(facts.title, 1), paragraph(_describe(facts))]
    if result := _conclude(facts):
        parts.insert(1, paragraph(result, "lead"))
    parts += [
        paragraph(text, "warning") for text in (_standing(facts), _not_finite(facts)) if text
    ]
    return parts


def figures(facts: RunFacts) -> list[Html]:
    """Return the final figures as tables, and what each of them means."""
    summary = facts.summary
    names = sort_names(
        {key.partition("/")[2] for key in summary if key.startswith(("val/", "test/"))}
    )
    if not names:
        return [paragraph("There are no final figures yet: they are those of the end.")]
    target = None if facts.spec is None else facts.spec.target
    unit = f", in {cut(target.unit)}" if target and target.unit else ", in the target's unit"
    rows = [
        [
            name,
            *(_shown(summary, f"{split}/{name}") for split in ("val", "test")),
            _GOALS[find_metric(name).goal],
            _MEANINGS.get(name, find_metric(name).label).replace("{unit}", unit),
        ]
        for name in names
    ]
    header = ["metric", "validation", "test", "better", "what it is"]
    parts = [table(Cells(header, rows), {"better", "what it is"})]
    if cost := _cost(summary):
        parts.append(paragraph(cost, "note"))
    if (cells := robustness_cells(summary)) is not None:
        parts += [heading("On images that were changed", 3), table(cells)]
        parts.append(paragraph(ROBUSTNESS_NOTE, "note"))
    return parts


def _cost(summary: Mapping[str, float]) -> str:
    """Say how large the network is, and how long it was trained."""
    said = [
        f"{summary['parameters']:,.0f} parameters" if "parameters" in summary else "",
        format_time(summary["seconds"]) + " of training" if "seconds" in summary else "",
        f"{summary['steps']:,.0f} steps" if "steps" in summary else "",
        f"tested as it was after epoch {summary['tested_epoch']:.0f}"
        if "tested_epoch" in summary
        else "",
    ]
    return f"{'; '.join(filter(None, said))}." if any(said) else ""


def _shown(summary: Mapping[str, float], key: str) -> str:
    return find_metric(key).format_alone(summary[key]) if key in summary else NONE


def _describe(facts: RunFacts) -> str:
    """Say in a sentence what was trained on what."""
    names = {group: cut(str(facts.settings(group).get("name")), 60) for group in _GROUPS}
    hidden = facts.settings("model").get("hidden")
    layers = f" with hidden layers of {list_some([*map(str, hidden)], 10)}" if hidden else ""
    epochs = int(facts.settings("trainer").get("max_epochs", 0))
    return (
        f"The model {names['model']}{layers}, trained by the task {names['task']} on the data "
        f"{names['data']}: up to {format_count(epochs, 'epoch')}, seed {facts.config.get('seed')}."
    )


def _conclude(facts: RunFacts) -> str:
    """Say in a sentence how it did in the test."""
    summary = facts.summary
    if "test/accuracy" in summary and facts.confusion is not None:
        counts = facts.confusion[1]
        rows, right = sum(map(sum, counts)), sum(row[i] for i, row in enumerate(counts))
        low, high = wilson_interval(right, rows) if rows else (0.0, 1.0)
        return (
            f"Of {rows:,} test rows, {right:,} are classified correctly: "
            f"{facts.format('test/accuracy')} (95% interval for rows like these: {low:.1%} to "
            f"{high:.1%})."
        )
    target = None if facts.spec is None else facts.spec.target
    if target is not None and {"test/rmse", "test/coverage_90"} <= summary.keys():
        return (
            f"In the test, predictions of {cut(target.label)} are off by "
            f"{facts.format('test/rmse')} (root of the mean square), and 90% intervals hold "
            f"{facts.format('test/coverage_90')} of the true values."
        )
    if "test/log_prob" in summary:
        return f"In the test, log p is {facts.format('test/log_prob')} nats a row on average."
    return ""


def _standing(facts: RunFacts) -> str:
    """Say how far a run is that has not ended; nothing of one that has."""
    run = facts.run
    if run.has_ended:
        return ""
    if facts.summary:
        return f"Its pictures are not all drawn; draw them by: ugmm train --resume {run.folder}"
    if not facts.history:
        far = "Nothing has been logged yet."
    else:
        last, epochs = facts.history[-1], facts.settings("trainer").get("max_epochs")
        written = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.metrics.stat().st_mtime))
        far = (
            f"It stands at epoch {int(last['epoch'] or 0) + 1} of {epochs}, step "
            f"{int(last['step'] or 0) + 1:,}, as it logged at {written}."
        )
    if facts.is_running:
        return f"This run is under way. {far} What follows is what there is so far."
    return (
        f"This run has not ended. {far} What follows is what there is; it goes on by: "
        f"ugmm train --resume {run.folder}"
    )


def _not_finite(facts: RunFacts) -> str:
    """Say what was not a finite number; nothing if all were."""
    wrong = [name for name, value in facts.summary.items() if not math.isfinite(value)]
    for row in facts.history:
        found = [n for n, v in row.items() if v is not None and not math.isfinite(v)]
        if found:
            failed = any(name.startswith("train/") for name in found)
            return (
                f"{'The training failed: n' if failed else 'N'}o finite number in "
                f"{', '.join(found)} from epoch {int(row['epoch'] or 0) + 1}, step "
                f"{int(row['step'] or 0) + 1:,} on."
            )
    return f"Not finite at the end: {', '.join(wrong)}." if wrong else ""
