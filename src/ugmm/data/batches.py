"""Batches cut from tensors held in memory, the same whatever the number of devices."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ugmm.errors import UserError

__all__ = ["Augmentation", "EvaluationBatches", "GaussianNoise", "TrainingBatches"]


class Augmentation(Protocol):
    """A random change of training features, one batch at a time.

    The random numbers are drawn for all rows of an epoch at once and handed back row by row, so
    that a row is changed in the same way on whichever device it lands.
    """

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """Draw one epoch's random numbers: (rows, ...)."""

    def __call__(self, x: Tensor, numbers: Tensor) -> Tensor:
        """Change a batch `x` (B, N) by its rows' numbers (B, ...): (B, N)."""


class GaussianNoise:
    r"""Adds independent draws of :math:`N(0, \sigma^2)` to all features.

    A row's number is the seed of a SplitMix64 stream of its own, of which every pair of features
    takes one draw, so that an epoch's noise is never held as a whole. In NumPy, like the copy of
    rows below, and for the reason given there.

    Reference:
        G. L. Steele, D. Lea, C. H. Flood, Fast splittable pseudorandom number generators,
        OOPSLA 2014; G. E. P. Box, M. E. Muller, Annals of Mathematical Statistics 29, 1958.

    Args:
        std: The noise's standard deviation, in the features' units.
    """

    def __init__(self, std: float) -> None:
        self.std = std

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """Draw a seed for each row: (rows,), int64."""
        return torch.randint(2**63 - 1, (rows,), generator=generator)

    def __call__(self, x: Tensor, numbers: Tensor) -> Tensor:
        """Add noise to rows (B, N) by their seeds (B,): (B, N)."""
        n = x.shape[1]
        bits = _split_mix(numbers.numpy().astype(np.uint64), (n + 1) // 2)
        # Box and Muller: a radius and an angle, of 32 bits each, are two normal numbers.
        high, low = (bits >> np.uint64(32)), bits & np.uint64(0xFFFFFFFF)
        radius = np.sqrt(-2 * np.log((high.astype(np.float32) + np.float32(0.5)) / 2**32))
        angle = low.astype(np.float32) * np.float32(2 * math.pi / 2**32)
        radius *= np.float32(self.std)
        noise = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return x + torch.from_numpy(noise[:, :n])


class TrainingBatches:
    """One rank's share of an epoch of training batches, in an order given by seed and epoch.

    The batch size is that of the *global* batch, of which rank r takes the rows r, r + world_size,
    r + 2 world_size, ...; together the ranks see exactly what one process would. Every batch is
    full: the rows left over at the end of an epoch's order wait for another epoch. Fewer rows
    than one batch make a single batch of all of them (less the last n % world_size).

    The global random state is neither read nor changed. After `load_state_dict` the iteration
    of the saved epoch continues behind the last batch that was handed out, which is how a run
    goes on in the midst of an epoch.

    Args:
        x: Features, (n, N), on the CPU.
        y: Labels, (n,), on the CPU.
        batch_size: Rows of a global batch.
        epoch: Says which epoch it is. Asked when the first batch is, not before: Lightning
            creates its first iterator before it has settled where a resumed run stands.
        seed: Decides, with the epoch, the order and the augmentation.
        rank: This process's place among `world_size`.
        world_size: Among how many processes each global batch is divided.
        augmentations: Change the features of each batch, one after the other.

    Raises:
        UserError: If the rows cannot be divided evenly among the processes.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        batch_size: int,
        epoch: Callable[[], int],
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        augmentations: Sequence[Augmentation] = (),
    ) -> None:
        if batch_size % world_size:
            below = batch_size - batch_size % world_size
            raise UserError(
                f"data.batch_size={batch_size} cannot be divided among {world_size} devices; use "
                + (f"{below} or " if below else "")
                + f"{below + world_size}"
            )
        _check_enough_rows(len(x), world_size)
        self._x, self._y = x, y
        self._rows = min(batch_size, len(x) - len(x) % world_size)
        self._epoch = epoch
        self._seed = seed
        self._rank, self._world_size = rank, world_size
        self._augmentations = augmentations
        # The epoch last begun and how many of its batches have been handed out.
        self._state = {"epoch": -1, "batch": 0}
        self._resumed: dict[str, int] | None = None

    def __len__(self) -> int:
        return len(self._x) // self._rows

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = self._epoch()
        generator = _generator(self._seed, epoch)
        order = torch.randperm(len(self._x), generator=generator)
        numbers = [each.draw(len(self._x), generator) for each in self._augmentations]
        for batch in range(self._take_resumed(epoch), len(self)):
            start = batch * self._rows
            rows = slice(start + self._rank, start + self._rows, self._world_size)
            x, y = _take(self._x, order[rows]), _take(self._y, order[rows])
            for augment, drawn in zip(self._augmentations, numbers, strict=True):
                x = augment(x, drawn[rows])
            self._state = {"epoch": epoch, "batch": batch + 1}
            yield x, y

    def state_dict(self) -> dict[str, int]:
        """Where the iteration stands; the same on every rank."""
        return dict(self._state)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next iteration over the saved epoch begin where the saved one stood."""
        self._resumed = dict(state)

    def _take_resumed(self, epoch: int) -> int:
        resumed, self._resumed = self._resumed, None
        return resumed["batch"] if resumed is not None and resumed["epoch"] == epoch else 0


class EvaluationBatches:
    """One rank's share of all rows, in order, each exactly once.

    The rows are cut into global batches of nearly equal size, no larger than `batch_size` unless
    that is close to the number of processes: every rank must find at least one row in each
    batch, because ranks that run different numbers of steps would wait for one another for ever.

    Args:
        x: Features, (n, N). The batches may be views of it: do not change them in place.
        y: Labels, (n,).
        batch_size: Rows of a global batch.
        rank: This process's place among `world_size`.
        world_size: Among how many processes each global batch is divided.

    Raises:
        UserError: If there are fewer rows than processes.
    """

    def __init__(
        self, x: Tensor, y: Tensor, *, batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        _check_enough_rows(len(x), world_size)
        self._x, self._y = x, y
        self._count = min(math.ceil(len(x) / batch_size), len(x) // world_size)
        self._rank, self._world_size = rank, world_size

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in range(self._count):
            rows = self._rows_of(batch, self._rank)
            yield self._x[rows].contiguous(), self._y[rows].contiguous()

    def gathered(self, batches: int) -> np.ndarray:
        """Return which rows the first batches have, all of one rank's before those of the next."""
        rows = np.arange(len(self._x))
        pairs = itertools.product(range(self._world_size), range(min(batches, self._count)))
        return np.concatenate([rows[self._rows_of(batch, rank)] for rank, batch in pairs])

    def _rows_of(self, batch: int, rank: int) -> slice:
        n = len(self._x)
        start, stop = batch * n // self._count, (batch + 1) * n // self._count
        return slice(start + rank, stop, self._world_size)


def _take(tensor: Tensor, rows: Tensor) -> Tensor:
    """Copy rows of a tensor.

    In NumPy, hence on one thread: torch would divide so short a copy among threads, which saves
    less than it costs as soon as something else wants a core (then, up to 50 times more).
    """
    return torch.from_numpy(tensor.numpy().take(rows.numpy(), axis=0))


def _split_mix(seeds: np.ndarray, draws: int) -> np.ndarray:
    """Return the first draws of the SplitMix64 streams of some seeds (B,): (B, draws), uint64."""
    steps = np.arange(1, draws + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = seeds[:, None] + steps  # modulo 2^64, as all that follows
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _generator(seed: int, epoch: int) -> torch.Generator:
    """A generator of its own for every (seed, epoch); neighbouring pairs are unrelated."""
    mixed = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0]))


def _check_enough_rows(rows: int, world_size: int) -> None:
    if rows < world_size:
        raise UserError(
            f"{rows} rows of data cannot be divided among {world_size} devices; use fewer devices"
        )
