"""`ugmm infer` and `ugmm sample`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ugmm.errors import UserError
from ugmm.given import Given
from ugmm.inference import Samples
from ugmm.loading import load
from ugmm.queries.table import (
    column_names,
    label_name,
    number_cell,
    read_given,
    row_cells,
    write_csv,
)
from ugmm.report.chains import diagnose_chains
from ugmm.terminal import warn
from ugmm.writing import make_folder

__all__ = ["QUERIES", "infer", "sample"]

QUANTILES = (0.05, 0.5, 0.95)
_MIXED = 1.01  # an R-hat, up to which chains tell the same


def infer(
    run: str, query: str, given: str, *, out: str | None = None, draws: int | None, seed: int
) -> None:
    """Ask a trained network about the rows of a file, and write the answers as CSV.

    Args:
        run: The run folder.
        query: One of `QUERIES`.
        given: A CSV file; what is empty in it is not known.
        out: Where the answers go; None is standard output.
        draws: How many an answer that is not exact may use for a row; None: the query's own.
        seed: Of those.

    Raises:
        UserError: If the run or the file cannot be used, or the network cannot answer.
    """
    if draws is not None and query == "mpe":
        raise UserError("--draws does nothing for --query mpe, which searches; leave it out")
    if out is not None:
        make_folder(Path(out).parent)  # before the work, which would be lost
    network = load(run)
    rows = network.given(read_given(given, network.spec))
    keywords: dict[str, Any] = {"seed": seed} if draws is None else {"seed": seed, "n": draws}
    write_csv(QUERIES[query](rows, keywords), out)


def _marginal(rows: Given, keywords: dict[str, Any]) -> Iterator[list]:
    found = rows.marginal(**keywords)
    yield ["log_prob", "error", "effective_share", "exact"]
    columns = (each.tolist() for each in (found.log_prob, found.error, found.effective))
    for numbers in zip(*columns, strict=True):
        yield [*map(number_cell, numbers), str(found.is_exact).lower()]


def _posterior(rows: Given, keywords: dict[str, Any]) -> Iterator[list]:
    found, names = rows.posterior(**keywords), rows.spec.class_names
    yield [
        label_name(rows.spec),
        *(f"p({name})" for name in names),
        "error",
        "effective_share",
        "exact",
    ]
    largest = found.error.amax(-1).tolist()
    answers = zip(found.probs.tolist(), largest, found.effective.tolist(), strict=True)
    for probs, error, effective in answers:
        best = names[max(range(len(names)), key=probs.__getitem__)]
        numbers = map(number_cell, (*probs, error, effective))
        yield [best, *numbers, str(found.is_exact).lower()]


def _mpe(rows: Given, keywords: dict[str, Any]) -> Iterator[list]:
    found = rows.mpe(seed=keywords["seed"])
    labelled = found.labels is not None
    yield [
        *column_names(rows.spec),
        *([label_name(rows.spec)] if labelled else []),
        "log_prob",
        "starts_agreed",
        "exact",
    ]
    for index, row in enumerate(found.rows):
        label = [found.labels[index]] if found.labels is not None else []
        log_prob = number_cell(found.log_prob[index])
        exact = str(bool(found.is_exact[index])).lower()
        yield [*row_cells(row), *label, log_prob, int(found.agreed[index]), exact]


def _conditional(rows: Given, keywords: dict[str, Any]) -> Iterator[list]:
    """A line for each numeric column that some row lacks, for each such row."""
    quantiles = [f"{share:.0%}" for share in QUANTILES]
    yield ["row", "column", "mean", "sd", *quantiles, "error", "effective_share", "exact"]
    found = []
    for column, lacking in rows.unknown_columns():
        of = rows[lacking].conditional(column, **keywords)
        numbers = [of.mean, of.stddev, *(of.quantile(share) for share in QUANTILES)]
        numbers += [of.error, of.of.effective]
        exact = str(of.of.is_exact).lower()
        for row, cells in zip(lacking.tolist(), zip(*numbers, strict=True), strict=True):
            found.append([row, column, *map(number_cell, cells), exact])
    if not found:
        raise UserError("no row lacks a number, so there is nothing to ask the conditionals of")
    yield from sorted(found, key=lambda line: line[0])


Answer = Callable[[Given, dict[str, Any]], Iterator[list]]
QUERIES: dict[str, Answer] = {
    "marginal": _marginal,
    "mpe": _mpe,
    "posterior": _posterior,
    "conditional": _conditional,
}


def sample(
    run: str, n: int, *, given: str | None, out: str | None, method: str, seed: int
) -> None:
    """Draw rows, given those of a file or given nothing, and write them as CSV.

    What the draws are worth, and of Markov chains how far they agree, is told on standard error.

    Args:
        run: The run folder.
        n: How many, for each row of the file.
        given: A CSV file; what is empty in it is drawn. None: rows of which nothing is known.
        out: Where the draws go; None is standard output.
        method: See `ugmm.inference.sample`.
        seed: Of the draws.

    Raises:
        UserError: See `infer`.
    """
    if n < 1:
        raise UserError(f"-n {n}: ask for at least one row")
    if out is not None:
        make_folder(Path(out).parent)
    network = load(run)
    if given is None:
        rows = network.given_nothing()
    else:
        rows = network.given(read_given(given, network.spec))
    with _progress() as progress:
        drawn = rows.sample(n, method=method, seed=seed, progress=progress)  # type: ignore[arg-type]
    for line in _worth(drawn.diagnostics):
        warn(line)

    def lines() -> Iterator[list]:
        labelled, numbered = drawn.labels is not None, given is not None
        yield [
            *(["row"] if numbered else []),
            *column_names(network.spec),
            *([label_name(network.spec)] if labelled else []),
        ]
        for index in range(len(rows)):
            for k, row in enumerate(drawn.rows[index]):
                label = [drawn.labels[index, k]] if drawn.labels is not None else []
                yield [*([index] if numbered else []), *row_cells(row), *label]

    write_csv(lines(), out)


def _worth(samples: Samples) -> Iterator[str]:
    """Yield a line about each method by which rows were drawn: what its draws are worth."""
    for method in sorted(set(samples.methods)):
        rows = [row for row, how in enumerate(samples.methods) if how == method]
        effective = samples.effective[rows]
        if method == "independent":
            yield f"{len(rows)} row(s): independent draws"
            continue
        worth = f"worth {effective.min():.0f} to {effective.max():.0f} independent ones a row"
        rhat = f"; {_rhat(samples, rows)}" if samples.has_chains(rows[0]) else ""
        yield f"{len(rows)} row(s): draws by {method}, {worth}{rhat}"


def _rhat(samples: Samples, rows: list[int]) -> str:
    """Return what is said of the R-hat of chains."""
    chains = (samples.by_chain(row).cpu().numpy() for row in rows)
    try:
        worst = max(diagnose_chains(each).worst_rhat for each in chains)
    except ModuleNotFoundError:
        return "install ugmm[diagnostics] for the R-hat of the chains"
    except ValueError as error:  # too few draws
        return str(error)
    return f"R-hat at most {worst:.3f}" + " (chains have not mixed)" * (worst > _MIXED)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show a bar on a terminal; nothing elsewhere, for standard output may be the answer's."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("drawing", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
