"""Whole networks beside peers: a step of training, a prediction, a draw."""

import contextlib
import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cases import Case
from common import BenchError, Lap, Step, Timing, between, now
from networks import COMPILED, MLP_SAME, PEERS, SIZES, autoregressive, classifier, mlp_of, settings

TITLE = "Whole networks: a step of training, a prediction, a draw"
NOTE = """Bare modules. mnist_disc, iris_disc: a step (forward, loss, backward, Adam) of the
network that the experiment of this name trains, on a batch as large; of the inputs of mnist_disc
four fifths are 0, as of MNIST's pixels, but for 'no zeros'. Its peers are as wide or have about as
many parameters, and have shown that they learn before they are timed. predict: the class scores of
so many rows of pixels; prepared: inside `with network.prepared()`. draw: so many digits at once,
from the network of mnist_gen."""
COLUMNS = ("us a row:9",)

OURS, PREPARED = "ugmm", "ugmm, prepared"
NO_DROPOUT, NO_ZEROS = "ugmm, no input dropout", "ugmm, no zeros"
TRAINING, IRIS, PREDICT, DRAW = "mnist_disc", "iris_disc", "predict", "draw"
ROWS, DRAWS = (1, 10_000), (1, 128)
BATCH, IRIS_BATCH, IRIS_ENDS = 256, 96, (4, 3)
AT_ONCE = 1000  # rows that a trained network's `predict` sees at once
LEARNING_STEPS, LEARNING_ROWS, LEARNING_RATE = 20, 32, 0.01


def cases(quick: bool, device: str) -> list[Case]:
    """What is timed."""
    long, short = (10, 2) if quick else (60, 10)
    found = [
        Case(TRAINING, [OURS, NO_DROPOUT, NO_ZEROS], list(PEERS), long),
        Case(IRIS, [OURS], [MLP_SAME], short),
        *(Case(f"{PREDICT} {n}", [OURS, PREPARED], [MLP_SAME], short) for n in ROWS),
    ]
    if device == "cpu":
        found += [Case(f"{DRAW} {n}", [OURS], [], short) for n in DRAWS]
    return found


def make(case: str, contender: str, device: str = "cpu") -> Step:
    """A step of a contender."""
    what, _, rows = case.partition(" ")
    torch.manual_seed(0)
    if what == DRAW:
        return drawing(int(rows))
    if what == PREDICT:
        return predicting(contender, int(rows), device)
    network = network_of(case, contender)
    if contender in PEERS and contender != COMPILED:  # which is the eager one
        check_learning(network_of(TRAINING, contender))
    x, y = pixels(BATCH, contender != NO_ZEROS) if case == TRAINING else flowers()
    train = trainer(case, network.to(device), x.to(device), y.to(device))

    def step() -> list[Lap]:
        start = now()
        train()
        return between(start, now())

    return step


def network_of(case: str, contender: str) -> nn.Module:
    """A new network."""
    if case == IRIS:
        return (mlp_of if contender == MLP_SAME else classifier)(IRIS, *IRIS_ENDS)
    if contender in PEERS:
        try:
            return PEERS[contender]()
        except ModuleNotFoundError as error:
            raise BenchError(f"{error.name} is not installed") from error
    other = {"input_dropout": 0.0} if contender == NO_DROPOUT else {}
    return classifier(TRAINING, SIZES[0], SIZES[-1], **other)


def pixels(rows: int, zeros: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs in [0, 1] about one prototype a class, and their classes.

    As of MNIST's pixels four fifths are 0, other ones for each class; or none is.
    """
    torch.manual_seed(0)
    prototypes = torch.rand(SIZES[-1], SIZES[0])
    inked = torch.rand(SIZES[-1], SIZES[0]) < (0.2 if zeros else 1.0)
    y = torch.arange(rows) % SIZES[-1]
    return inked[y] * (0.7 * prototypes[y] + 0.3 * torch.rand(rows, SIZES[0])), y


def flowers() -> tuple[torch.Tensor, torch.Tensor]:
    """A batch as that of iris_disc: all of its training rows, standardised."""
    torch.manual_seed(0)
    return torch.randn(IRIS_BATCH, IRIS_ENDS[0]), torch.arange(IRIS_BATCH) % IRIS_ENDS[1]


def trainer(case: str, network: nn.Module, x: torch.Tensor, y: torch.Tensor, lr: float = 1e-3):
    """What does a step of training, and returns its loss."""
    smoothing = settings(case).get("task", {}).get("label_smoothing", 0.0)
    optimizer = torch.optim.Adam(network.parameters(), lr, fused=True)

    def train() -> torch.Tensor:
        loss = cross_entropy(network(x), y, label_smoothing=smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return train


def check_learning(network: nn.Module) -> None:
    """Raise an error unless a network's loss falls on a small batch."""
    case, (x, y) = TRAINING, pixels(LEARNING_ROWS)
    train = trainer(case, network, x, y, LEARNING_RATE)
    found = [float(train()) for _ in range(LEARNING_STEPS)]
    if not all(map(math.isfinite, found)) or found[-1] >= found[0]:
        raise BenchError(f"it does not learn: from loss {found[0]:.3f} to {found[-1]:.3f}")


@torch.inference_mode()
def predicting(contender: str, rows: int, device: str) -> Step:
    """A step of prediction: the class scores of rows."""
    network = network_of(TRAINING, contender).to(device).eval()
    parts = pixels(rows)[0].to(device).split(AT_ONCE)
    prepared = contextlib.nullcontext
    if contender == PREPARED:
        prepared = getattr(network, "prepared", None)
        if prepared is None:
            raise BenchError("has no prepared()")

    @torch.inference_mode()
    def step() -> list[Lap]:
        with prepared():
            network(parts[0])  # what is prepared, is prepared now
            start = now()
            for part in parts:
                network(part)
            return between(start, now())

    return step


def drawing(rows: int) -> Step:
    """A step of drawing: digits from an autoregressive network."""
    network = autoregressive("mnist_gen", SIZES[0]).eval()

    def step() -> list[Lap]:
        start = now()
        network.sample(rows)
        return between(start, now())

    return step


def cells(case: str, contender: str, timing: Timing, peers: dict[str, Timing]) -> list[str]:  # noqa: ARG001
    """The part's own columns."""
    rows = {TRAINING: BATCH, IRIS: IRIS_BATCH}.get(case) or int(case.split()[1])
    return [f"{1e6 * timing.seconds.median / rows:,.1f}"]
