"""`ugmm infer` and `ugmm sample`."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from ugmm.answers import label_name, number_cell, posterior_names
from ugmm.errors import UserError
from ugmm.given import Given
from ugmm.inference import Samples
from ugmm.queries.network import load_asked
from ugmm.queries.table import column_names, read_given, row_cells, write_csv
from ugmm.report.chains import diagnose_chains
from ugmm.stated import Stated
from ugmm.terminal import progress_bar, warn
from ugmm.writing import make_folder

__all__ = ["QUERIES", "infer", "sample"]

QUANTILES = (0.05, 0.5, 0.95)
_PART = 64  # rows that are asked about at once, between two looks at the progress
_MIXED = 1.01  # an R-hat, up to which chains tell the same


def infer(
    run: str,
    query: str,
    given: str,
    *,
    stated: Callable[[object], Stated],
    out: str | None,
    draws: int | None,
    check: bool,
    seed: int,
) -> None:
    """Ask a trained network about the rows of a file, and write the answers as CSV.

    Args:
        run: The run folder.
        query: One of `QUERIES`.
        given: A CSV file; what is empty in it is not known.
        stated: Gives, for the settings of the run's data, how the file is written.
        out: Where the answers go; None is standard output.
        draws: How many an answer that is not exact may use for a row; None: the query's own.
        check: Whether `mpe` searches ten times as widely, too.
        seed: Of all that is random.

    Raises:
        UserError: If the run or the file cannot be used, or the network cannot answer.
    """
    if draws is not None and query == "mpe":
        raise UserError("--draws does nothing for --query mpe, which searches; leave it out")
    if check and query != "mpe":
        raise UserError(f"--check is of a search, and --query {query} is none; leave it out")
    if out is not None:
        make_folder(Path(out).parent)  # before the work, which would be lost
    network = load_asked(run)
    rows = network.given(read_given(given, network.spec, stated(network.config.data)))
    keywords: dict[str, Any] = {"seed": seed}
    if draws is not None:
        keywords["n"] = draws
    if check:
        keywords["check"] = True
    names: list[str] = []
    lines: dict[int, list[list]] = {row: [] for row in range(len(rows))}
    with progress_bar("answering") as progress:
        done = 0
        for part in rows.alike(_PART):
            names, answers = QUERIES[query](rows[part], keywords)
            for place, cells in answers:
                lines[int(part[place])].append(cells)
            progress(done := done + len(part), len(rows))
    if query == "conditional":
        names = ["row", *names]
        lines = {row: [[row, *cells] for cells in found] for row, found in lines.items()}
        if not any(lines.values()):
            raise UserError("no row lacks a number, so there are no conditionals to ask for")
    write_csv([names, *chain.from_iterable(lines.values())], out)


Answers = tuple[list[str], Iterable[tuple[int, list]]]  # names; a row's place, and its cells


def _marginal(rows: Given, keywords: dict[str, Any]) -> Answers:
    found = rows.marginal(**keywords)
    exact = _word(found.is_exact)
    columns = (each.tolist() for each in (found.log_prob, found.error, found.effective))
    cells = ([*map(number_cell, numbers), exact] for numbers in zip(*columns, strict=True))
    return ["log_prob", "error", "effective_share", "exact"], enumerate(cells)


def _posterior(rows: Given, keywords: dict[str, Any]) -> Answers:
    found, classes = rows.posterior(**keywords), rows.spec.class_names
    names = [label_name(rows.spec), *posterior_names(classes)]
    exact = _word(found.is_exact)
    columns = (each.tolist() for each in (found.probs, found.error.amax(-1), found.effective))
    cells = []
    for probs, error, effective in zip(*columns, strict=True):
        best = classes[max(range(len(classes)), key=probs.__getitem__)]
        cells.append([best, *map(number_cell, (*probs, error, effective)), exact])
    return [*names, "error", "effective_share", "exact"], enumerate(cells)


def _mpe(rows: Given, keywords: dict[str, Any]) -> Answers:
    found = rows.mpe(**keywords)
    labels = [[]] * len(rows) if found.labels is None else [[name] for name in found.labels]
    names = column_names(rows.spec) + [label_name(rows.spec)] * len(labels[0])
    gaps = [[]] * len(rows) if found.gap is None else [[number_cell(gap)] for gap in found.gap]
    columns = found.rows, labels, found.log_prob, found.agreed, gaps, found.is_exact
    cells = (
        [*row_cells(row), *label, number_cell(log_prob), int(agreed), *gap, _word(exact)]
        for row, label, log_prob, agreed, gap, exact in zip(*columns, strict=True)
    )
    told = ["log_prob", "starts_agreed", *(["gap"] if found.gap is not None else []), "exact"]
    return [*names, *told], enumerate(cells)


def _conditional(rows: Given, keywords: dict[str, Any]) -> Answers:
    """A line for each numeric column that a row lacks."""
    answers = []
    for column, lacking in rows.unknown_columns():
        of = rows[lacking].conditional(column, **keywords)
        numbers = [of.mean, of.stddev, *(of.quantile(share) for share in QUANTILES)]
        numbers += [of.error, of.of.effective]
        exact = _word(of.of.is_exact)
        for row, cells in zip(lacking.tolist(), zip(*numbers, strict=True), strict=True):
            answers.append((row, [column, *map(number_cell, cells), exact]))
    quantiles = [f"{share:.0%}" for share in QUANTILES]
    names = ["column", "mean", "sd", *quantiles, "error", "effective_share", "exact"]
    return names, answers


def _word(exact: Any) -> str:
    return "true" if exact else "false"


QUERIES: dict[str, Callable[[Given, dict[str, Any]], Answers]] = {
    "marginal": _marginal,
    "mpe": _mpe,
    "posterior": _posterior,
    "conditional": _conditional,
}


def sample(
    run: str,
    n: int,
    *,
    given: str | None,
    stated: Callable[[object], Stated],
    out: str | None,
    method: str,
    seed: int,
) -> None:
    """Draw rows, given those of a file or given nothing, and write them as CSV.

    What the draws are worth, and of Markov chains how far they agree, is told on standard error.

    Args:
        run: The run folder.
        n: How many, for each row of the file.
        given: A CSV file; what is empty in it is drawn. None: rows of which nothing is known.
        stated: See `infer`.
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
    network = load_asked(run)
    if given is None:
        rows = network.given_nothing()
    else:
        rows = network.given(read_given(given, network.spec, stated(network.config.data)))
    with progress_bar("drawing") as progress:
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
