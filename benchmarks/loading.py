"""What loading MNIST costs, as a share of training on it: `python benchmarks/loading.py`."""

import statistics
import time

import torch

from ugmm.data import MNISTDataModule
from ugmm.nn import UGMMNetwork

REPETITIONS = 5


def main() -> None:
    """Time an epoch of loading, and one of loading and training, in turn."""
    data = MNISTDataModule(batch_size=256)
    data.prepare_data()
    data.setup()
    network = UGMMNetwork([784, 128, 64, 10], norm="layer", dropout=0.3)
    optimizer = torch.optim.Adam(network.parameters())

    def load() -> None:
        for _ in data.train_dataloader():
            pass

    def train() -> None:
        for x, y in data.train_dataloader():
            loss = torch.nn.functional.cross_entropy(network(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    times: dict[str, list[float]] = {"load": [], "train": []}
    for repetition in range(REPETITIONS + 1):
        for name, run in (("load", load), ("train", train)):
            began = time.perf_counter()
            run()
            if repetition:  # the first warms up
                times[name].append(time.perf_counter() - began)
    print(
        f"one epoch of MNIST, {len(data.train_dataloader())} batches of 256, "
        f"{torch.get_num_threads()} threads, median (range) of {REPETITIONS}"
    )
    for name, text in (("load", "loading alone"), ("train", "loading and training")):
        values = times[name]
        print(
            f"{text:<21} {statistics.median(values):7.3f} s  "
            f"({min(values):.3f} to {max(values):.3f})"
        )
    share = statistics.median(times["load"]) / statistics.median(times["train"])
    print(f"{'share of loading':<21} {share:7.1%}")


if __name__ == "__main__":
    main()
