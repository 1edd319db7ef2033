"""How much cheaper all candidates of single inputs are than whole networks, and how exact.

    python benchmarks/queries/primitive.py [--quick] [--write] [--run RUN]

RUN is the folder of a run of `mnist_disc`, and MNIST is read then. Without it the network of the
same sizes is initialised from made-up pictures, and not trained.
"""

import argparse
import copy
import functools
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from results import read_options, show, table
from torch import Tensor

from ugmm.nn import Classifier, JointScore, UGMMNetwork

SIZES = (784, 128, 64, 10)
N_VALUES = 32
PICTURES = 4  # whose errors are looked at
ERROR = 1e-5
LEAST, AIM, LEAST_CALLS = 3.5, 6.0, 100.0
# Features, classes, hidden widths.
SMALL = {
    "2 features": (2, 3, (20, 8)),
    "Iris": (4, 3, (20, 8)),
    "wine": (13, 3, (20, 8)),
    "breast cancer": (30, 2, (40, 16)),
    "60 features": (60, 2, (40, 16)),
    "60 features, no label": (60, 1, (40, 16)),
    "200 features, no label": (200, 1, (40, 16)),
}


def network_and_pictures(run: str | None) -> tuple[UGMMNetwork, Tensor, str]:
    """Return a network of `SIZES` and some rows of pixels."""
    if run is None:
        torch.manual_seed(0)
        pictures = torch.rand(500, SIZES[0]) * (torch.rand(500, SIZES[0]) < 0.2)
        network = UGMMNetwork(SIZES, norm="layer", min_scale=0.2, init="data")
        network.init_from(pictures)
        return (
            network.eval(),
            pictures[:PICTURES],
            "initialised from made-up pictures, not trained",
        )
    import ugmm
    from ugmm.data import MNISTDataModule

    network = ugmm.load(run).network
    data = MNISTDataModule()
    data.setup()
    return (
        network.eval(),
        data.splits["test"][:][0][:PICTURES].flatten(1).float(),
        "trained on MNIST",
    )


def medians(contenders: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Time contenders in turn: the medians of their CPU seconds."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender()  # compiles
    for _ in range(repeats):
        for name, contender in contenders.items():
            begin = time.process_time()
            contender()
            times[name].append(time.process_time() - begin)
    return {name: statistics.median(each) for name, each in times.items()}


def components(sizes: tuple[int, ...]) -> tuple[int, int, int]:
    """Return N, the first layer's neurons, and the components of the later layers."""
    return sizes[0], sizes[1], sum(a * b for a, b in pairwise(sizes[1:]))


def calls(network: UGMMNetwork, x: Tensor, repeats: int) -> None:
    """Ask a network about one row, so many times."""
    for _ in range(repeats):
        network(x)


def digits(run: str | None, quick: bool) -> tuple[str, bool]:
    """Compare the ways for a network of digits; return what was found, and whether it holds."""
    network, pictures, about = network_and_pictures(run)
    x = pictures[:1]
    n_in, width, later = components(SIZES)
    bound = (n_in * width + later) / (width + later)
    values = torch.linspace(0, 1, N_VALUES)
    rows = x.repeat(n_in * N_VALUES, 1)
    each = torch.arange(n_in)
    rows.view(n_in, N_VALUES, n_in)[each, :, each] = values
    n_calls = 20 if quick else 200

    def batches() -> Tensor:
        return torch.cat([network(part) for part in rows.split(4096)])

    def primitive() -> Tensor:
        return network.coordinate_scores(x, values)

    def in_scope(contender: Callable[[], object]) -> object:
        with network.prepared():
            return contender()

    found = medians(
        {
            "calls": functools.partial(calls, network, x, n_calls),
            "calls, prepared": lambda: in_scope(functools.partial(calls, network, x, n_calls)),
            "one batch": lambda: in_scope(lambda: network(rows)),
            "batches": lambda: in_scope(batches),
            "built": lambda: Classifier.coordinate_scores(network, x, values),
            "primitive": primitive,
        },
        3 if quick else 21,
    )
    for name in ("calls", "calls, prepared"):
        found[name] *= len(rows) / n_calls
    own = found["primitive"]
    names = {
        "calls": "one call a candidate",
        "calls, prepared": "the same with prepared parameters",
        "one batch": "whole networks, one fused batch of given rows",
        "batches": "whole networks, given rows, 4,096 at a time",
        "built": "the same, and the rows are built too",
        "primitive": "`coordinate_scores`",
    }
    lines = [(text, f"{found[n]:.4f}", f"{found[n] / own:.1f}") for n, text in names.items()]
    errors = _errors(network, pictures, values, 50 if quick else 500)
    ratio, of_calls = found["batches"] / own, found["calls"] / own
    fast = ratio >= LEAST and of_calls >= LEAST_CALLS
    holds = fast and (errors[0] <= ERROR or run is None)
    allowed = f"allowed {ERROR:.0e}" if run else "what a trained one may have is not asked of it"
    text = f"""A network {"-".join(map(str, SIZES))} ({about}), {len(rows):,} candidates: each of
{n_in} pixels of one picture at {N_VALUES} values. CPU seconds, medians; contenders take turns.

{table(["", "CPU s", "times `coordinate_scores`"], lines)}

Against whole networks 4,096 at a time, the quickest of them: {ratio:.1f} times (required {LEAST},
aimed at {AIM:.0f}). The ratio of components, R, is {bound:.1f}, but whole networks take a pixel
that is 0 almost for nothing, and the later layers here take polynomials for exponentials.
Largest error against float64, of some candidates of {PICTURES} pictures: {errors[0]:.1e}
({allowed}); of whole networks {errors[1]:.1e}; between the two {errors[2]:.1e}.
{"**Holds.**" if holds else "**Does not hold.**"}"""
    return text, holds


def _errors(network: UGMMNetwork, pictures: Tensor, values: Tensor, n: int) -> list[float]:
    """Return the largest differences, of n candidates of each picture.

    Those of `coordinate_scores` to float64, of whole networks to float64, and of the two.
    """
    exact, largest = _float64(network), [0.0] * 3
    for x in pictures.split(1):
        pixel, value = torch.randint(x.shape[1], (n,)), torch.randint(len(values), (n,))
        rows = x.repeat(n, 1).scatter(1, pixel.unsqueeze(1), values[value].unsqueeze(1))
        own = network.coordinate_scores(x, values)[0, pixel, value]
        whole, expected = network(rows), exact(rows.double())
        pairs = (own, expected), (whole, expected), (own, whole)
        found = [float((a - b).abs().max()) for a, b in pairs]
        largest = [max(pair) for pair in zip(largest, found, strict=True)]
    return largest


def _float64(network: UGMMNetwork) -> UGMMNetwork:
    exact = copy.deepcopy(network).double()
    for layer in exact.layers:
        layer.kernel = "reference"
    return exact


def small(quick: bool) -> str:
    """Where it pays: networks of tables, candidates of all features and of one."""
    lines = []
    for name, (n_features, n_classes, hidden) in SMALL.items():
        torch.manual_seed(0)
        n_codes = n_classes if n_classes > 1 else 0
        network = UGMMNetwork([n_features + n_codes, *hidden, 1], min_scale=0.1).eval()
        score = JointScore(network, n_classes, "onehot" if n_codes else "none").eval()
        n_in, width, later = components(tuple(network.sizes))
        bound = (n_in * width + later) / (width + later)
        x, values = torch.randn(16, n_features), torch.randn(N_VALUES)
        for wanted in (torch.arange(n_features), torch.tensor([n_features // 2])):
            count = len(wanted) * N_VALUES
            decided = network.coordinates_pay(count, n_classes)
            ask = functools.partial(score.coordinate_scores, x, values, wanted)
            whole = functools.partial(Classifier.coordinate_scores, score, x, values, wanted)
            with score.prepared():  # as the queries do
                found = medians({"whole": whole, "own": _forced(network, ask)}, 5 if quick else 41)
            lines.append(
                (
                    name,
                    "-".join(map(str, network.sizes)),
                    len(wanted),
                    f"{bound:.1f}",
                    f"{network.coordinate_gain(count, n_classes):.2f}",
                    f"{found['whole'] / found['own']:.2f}",
                    "single inputs" if decided else "whole rows",
                )
            )
    columns = ["", "sizes", "features asked", "R", "components saved", "time saved", "taken"]
    return f"""Small networks, 16 rows, {N_VALUES} values of a feature, prepared parameters.
A class label is an input, and `score_pairs` computes the features once for all labels, which R
does not know; "components saved" does, and decides (`UGMMNetwork.coordinates_pay`). "Time saved"
is CPU time of whole rows over that of single inputs, whichever is taken.

{table(columns, lines)}"""


def _forced(network: UGMMNetwork, ask: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Ask with single inputs whether they pay or not."""

    def forced() -> Tensor:
        network.coordinates_pay = lambda *_args: True  # type: ignore[method-assign]
        try:
            return ask()
        finally:
            del network.coordinates_pay

    return forced


def main() -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run")
    args = read_options(parser)
    with torch.no_grad():
        text, holds = digits(args.run, args.quick)
        text = f"{text}\n\n{small(args.quick)}"
    show("primitive", "candidates of single inputs", text, args.write)
    raise SystemExit(0 if holds or args.quick else 1)


if __name__ == "__main__":
    main()
