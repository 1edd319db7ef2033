"""Digits of which pixels are missing: how often a classifier is right, by each way to do without.

    python benchmarks/queries/missing_pixels.py RUN [--circuits RUN ...] [--validation] [--write]

RUN is a run folder of mnist_disc; circuits are runs of mnist_spflow_rat, whose marginals are
exact, as it is or with `task=likelihood task.noise=0`. Settings are looked at on validation rows
(`--validation`), the table is of test rows.
"""

import argparse

import torch
from results import read_options, show, table
from torch import Tensor

from ugmm.config.frozen import read_config
from ugmm.data import MNISTDataModule
from ugmm.inference import Evidence, posterior
from ugmm.loading import load_network
from ugmm.nn import Classifier
from ugmm.runs import locate

CASES = (0.1, 0.3, 0.5, 0.7, 0.9, "a quadrant", "the lower half")
LEAST = {0.5: 0.95, 0.7: 0.92, 0.9: 0.75}


def known_pixels(case: float | str, n: int, seed: int = 7) -> Tensor:
    """Draw which pixels of n images are known: (n, 784)."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(case, float):
        return torch.rand(n, 784, generator=generator) >= case
    known = torch.ones(n, 28, 28, dtype=torch.bool)
    if case == "the lower half":
        known[:, 14:] = False
    else:
        for image, corner in zip(known, torch.randint(4, (n,), generator=generator), strict=True):
            top, left = 14 * int(corner // 2), 14 * int(corner % 2)
            image[top : top + 14, left : left + 14] = False
    return known.flatten(1)


def ways(
    network: Classifier, evidence: Evidence, rows: Tensor, neighbours: int, mean: Tensor
) -> dict[str, Tensor]:
    """Return the posterior of each way to do without what is missing."""
    x, known = evidence.x, evidence.known
    drop = network.marginal_class_scores(x, known).softmax(-1)  # type: ignore[operator]
    others = {"rows": rows, "neighbours": neighbours}
    return {
        "mean": network.posterior(torch.where(known, x, mean)),
        "zeros": network.posterior(x),
        "drop": drop,
        "nearest": posterior(NoDrop(network).eval(), evidence, **others).probs,
        "both": posterior(network, evidence, **others).probs,
    }


def _name(run: str) -> str:
    """Return what a circuit is called in the table."""
    task = read_config(locate(run)[0]).task.name
    return (
        f"RAT-SPN, exact, trained {'to classify' if task == 'discriminative' else 'as a density'}"
    )


class NoDrop(Classifier):
    """A classifier that cannot leave out components, around one that can."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def class_scores(self, x: Tensor) -> Tensor:
        """See `Classifier.class_scores`."""
        return self.network.class_scores(x)


@torch.no_grad()
def main() -> None:
    """Print, and perhaps write, the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--circuits", nargs="*", default=[])
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--neighbours", type=int, default=5)
    parser.add_argument("--rows", type=int, default=5000)
    options = read_options(parser)
    data = MNISTDataModule()
    data.prepare_data()
    data.setup()
    x, y = data.splits["val" if options.validation else "test"]
    n = 500 if options.quick else 5000 if options.validation else 10_000
    x, y = x[:n], y[:n]
    train = data.splits["train"].x
    network = load_network(options.run)
    circuits = {_name(run): load_network(run) for run in options.circuits}
    lines = []
    for case in CASES:
        evidence = Evidence(x, known_pixels(case, n))
        found = ways(network, evidence, train[: options.rows], options.neighbours, train.mean(0))
        for name, circuit in circuits.items():
            scores = [
                circuit.marginal_class_scores(part.x, part.known)  # type: ignore[operator]
                for part in evidence.split(500)
            ]
            found[name] = torch.cat(scores).softmax(-1)
        right = {name: float((p.argmax(-1) == y).float().mean()) for name, p in found.items()}
        nll = {
            name: float(-(p.gather(1, y[:, None]) + 1e-12).log().mean())
            for name, p in found.items()
        }
        share = f"{case:.0%}" if isinstance(case, float) else case
        holds = right["both"] >= max(right["drop"], right["nearest"]) - 0.02
        holds &= right["both"] >= LEAST.get(case, 0)  # type: ignore[call-overload]
        cells = [f"{right[name]:.3f} ({nll[name]:.2f})" for name in found]
        lines.append([share, *cells, "yes" if holds else "NO"])
    text = (
        f"Share of {n} {'validation' if options.validation else 'test'} digits that are "
        "classified correctly, and the mean negative log-posterior of the label in nats; "
        f"{options.neighbours} neighbours among {options.rows} training rows.\n\n"
    )
    show(
        "missing_pixels",
        "digits with missing pixels",
        text + table(["missing", *found, "holds"], lines),
        options.write,
    )


if __name__ == "__main__":
    main()
