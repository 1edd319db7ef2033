"""Completions of digits whose lower half is not seen, judged by a classifier.

    python benchmarks/queries/completions.py RUN CLASSIFIER [--picture FILE] [--quick] [--write]

RUN is a folder of a run of `mnist_gen`, or of another density of binary images: one without a beam
search goes without its lines. CLASSIFIER is one of `mnist_disc`.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from results import read_options, show, table
from torch import Tensor

from ugmm.inference import Evidence, marginal, mpe
from ugmm.loading import load_network
from ugmm.report.run.completions import completed_images
from ugmm.report.style import save

SEEN, SAMPLES = 392, 64


def main() -> None:
    """Complete, judge, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("classifier")
    parser.add_argument("--picture")
    args = read_options(parser)
    x, y = test_digits(8 if args.quick else 24)
    bench = Bench(load_network(args.run), load_network(args.classifier), x, y)
    bench.judge_samples()
    for name, complete in bench.ways(args.quick).items():
        mode = bench.judge(name, complete)
    if args.picture:
        known = bench.evidence.known
        save(completed_images(x, known, bench.samples, (28, 28), mode), args.picture)
    columns = ("completion", "log p(free, seen) - log p(seen)", "ones in the free half")
    columns = (*columns, "judged right", "CPU s a digit")
    text = (
        f"{len(x)} binarised test digits of which the upper half is seen. Of a sample, log p, "
        f"ones and the judgement are means over {SAMPLES} samples a digit. The mode is a bad "
        "picture: it leaves out what is likely but not certain.\n\n" + table(columns, bench.lines)
    )
    show("completions", "lower halves of digits, completed", text, args.write)


def test_digits(n: int) -> tuple[Tensor, Tensor]:
    """Return binarised test digits and their labels."""
    from ugmm.data import MNISTDataModule

    data = MNISTDataModule(binarize=0)
    data.prepare_data()
    data.setup()
    x, y = data.splits["test"]
    return x[:n], y[:n]


class Bench:
    """Digits, the density that completes them, and the judge.

    Arguments:
        density: Of binary images.
        judge: A classifier of them.
        x: The digits, (n, 784).
        y: What they are, (n,).
    """

    def __init__(self, density: Any, judge: Any, x: Tensor, y: Tensor) -> None:
        self.density, self._judge, self.x, self.y = density, judge, x, y
        self.evidence = Evidence(x, (torch.arange(x.shape[1]) < SEEN).expand_as(x))
        self._log_seen = marginal(density, self.evidence).log_prob
        self.samples = torch.empty(0)
        self.lines: list[list[str]] = []

    @torch.no_grad()
    def _add(self, name: str, images: Tensor | None, right: Tensor, seconds: float) -> None:
        log_p = ones = "-"
        if images is not None:  # (n, k, 784)
            log_seen = self._log_seen.unsqueeze(1)
            log_p = f"{(self.density.log_prob(images) - log_seen).mean():.1f}"
            ones = f"{images[..., SEEN:].sum(-1).mean():.1f}"
        cost = f"{seconds / len(self.x):.3f}" if seconds else "-"
        self.lines.append([name, log_p, ones, f"{right.double().mean():.2f}", cost])

    @torch.no_grad()
    def judge_samples(self) -> None:
        """Judge the truth, samples, their majority and what is thought of all of them."""
        self._add("truth", self.x.unsqueeze(1), self._is_right(self.x), 0)
        start = time.process_time()
        generator = torch.Generator().manual_seed(0)
        self.samples = self.density.draw(self.evidence, SAMPLES, generator).x
        seconds = time.process_time() - start
        posterior = self._judge.posterior(self.samples)
        right = posterior.argmax(-1) == self.y.unsqueeze(1)
        self._add("one sample", self.samples, right, seconds / SAMPLES)
        majority = (self.samples.mean(1) > 0.5).float()
        name = f"majority of {SAMPLES} samples"
        self._add(name, majority.unsqueeze(1), self._is_right(majority), seconds)
        right = posterior.mean(1).argmax(-1) == self.y
        self._add(f"mean posterior of {SAMPLES} samples", None, right, seconds)

    def ways(self, quick: bool) -> dict[str, Callable[[], Tensor]]:
        """Return the ways to look for the most probable completion."""
        found: dict[str, Callable[[], Tensor]] = {}
        if hasattr(self.density, "beam"):
            for width in (1, 16) if quick else (1, 16, 256):
                name = f"beam of {width}" if width > 1 else "greedy"
                found[name] = lambda width=width: self.density.beam(self.evidence, width).x
        found["`mpe`"] = lambda: mpe(self.density, self.evidence).x
        return found

    def judge(self, name: str, complete: Callable[[], Tensor]) -> Tensor:
        """Judge one way's completions, and return them."""
        start = time.process_time()
        images = complete()
        seconds = time.process_time() - start
        self._add(name, images.unsqueeze(1), self._is_right(images), seconds)
        return images

    def _is_right(self, images: Tensor) -> Tensor:
        return self._judge.predict(images) == self.y


if __name__ == "__main__":
    main()
