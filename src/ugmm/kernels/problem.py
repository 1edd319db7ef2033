"""What an operation is asked: its tensors, and whether they fit together."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ugmm.kernels.prepared import Prepared
from ugmm.kernels.roads import has_numbers, untraced

__all__ = [
    "HALVES",
    "CumulativeProblem",
    "Problem",
    "check_candidates",
    "check_floats",
    "check_input",
    "check_known",
    "check_layer",
    "check_positions",
    "check_start",
    "check_tensors",
    "widened",
]

HALVES = (torch.bfloat16, torch.float16)  # in which numbers are kept, but not computed
_FLOATS = (torch.float32, torch.float64, *HALVES)


class Problem(NamedTuple):
    """One layer: x and known (batch, in); the other tensors (out, in).

    A standard deviation is min_scale + e**log_scale. An input that is not known is left out, with
    all components that look at it; without `known` every input is known.
    """

    x: Tensor
    loc: Tensor
    log_scale: Tensor
    logits: Tensor
    known: Tensor | None = None
    min_scale: float = 0.0
    prepared: Prepared | None = None
    notes: dict[str, Any] | None = None  # what forward leaves for backward to use again

    def log_scales(self) -> Tensor:
        """The logarithms of the standard deviations, (out, in)."""
        if self.min_scale == 0:
            return self.log_scale
        return torch.logaddexp(
            self.log_scale, torch.full_like(self.log_scale, math.log(self.min_scale))
        )

    def strangers(self) -> tuple[Tensor | None, ...]:
        """The tensors that no call has met before."""
        if self.prepared is None or self.prepared.constants is None:
            return self[:5]
        return self.x, self.known

    def noting(self) -> "Problem":
        """The same, for a forward that a backward may follow."""
        return Problem(*self[:-1], {})

    def score_shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        return self.x.shape[0], self.loc.shape[0]

    def empty_gradients(self, need_x: bool, need_parameters: bool) -> tuple[Tensor, ...]:
        """Contiguous, uninitialised gradients; of no element where not needed."""
        x, loc = self[:2]
        by_x = _empty_like(x) if need_x else x.new_empty(0, 0)
        if need_parameters:
            return by_x, _empty_like(loc), _empty_like(loc), _empty_like(loc)
        return by_x, *(loc.new_empty(0, 0) for _ in range(3))


def _empty_like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


class CumulativeProblem(NamedTuple):
    """x (batch, in); loc, log_scale, logits (out, in); start (batch, out); positions (wanted).

    The logits are logarithms of weights as they are; without positions every prefix is wanted.
    """

    x: Tensor
    loc: Tensor
    log_scale: Tensor
    logits: Tensor
    start: Tensor
    positions: Tensor | None

    def strangers(self) -> tuple[Tensor | None, ...]:
        """The tensors that no call has met before: all."""
        return self

    def noting(self) -> "CumulativeProblem":
        """The same: nothing is noted."""
        return self

    def score_shape(self) -> tuple[int, ...]:
        """The shape of the result."""
        batch, n_in = self.x.shape
        wanted = n_in if self.positions is None else self.positions.shape[0]
        return batch, wanted, self.loc.shape[0]

    def empty_gradients(self, need_x: bool, need_parameters: bool) -> tuple[Tensor, ...]:
        """As of `Problem`, and by start, which is always needed: it costs nothing."""
        layer = Problem(*self[:4]).empty_gradients(need_x, need_parameters)
        return *layer, self.start.new_empty(self.start.shape)

    def wanted(self) -> tuple[Tensor, int, bool]:
        """Which result, or -1, the prefix that ends with each used input is; and if one is empty.

        Returns:
            the former, of no input from the last position on; how many results; the latter.
        """
        n_in, device = self.x.shape[1], self.x.device
        if self.positions is None:
            return torch.arange(1, n_in, device=device), n_in, True
        count = len(self.positions)
        after = torch.full((int(self.positions[-1]) + 1 if count else 1,), -1, device=device)
        after[self.positions] = torch.arange(count, device=device)
        return after[1:], count, int(after[0]) == 0


def widened(tensor: Tensor) -> Tensor:
    """A tensor in the type that is computed in: float32 for half precision."""
    return tensor.float() if tensor.dtype in HALVES else tensor


def check_tensors(**values: object) -> None:
    """Raise TypeError unless the values of these names are tensors."""
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name} must be a torch.Tensor, not {type(value).__name__}: torch.as_tensor "
                "makes one of a list, and torch.from_numpy of a NumPy array"
            )


def check_floats(**values: Any) -> None:
    """Raise TypeError unless the values of these names are tensors of floating-point numbers."""
    check_tensors(**values)
    for name, value in values.items():
        if value.dtype not in _FLOATS:
            raise TypeError(
                f"{name} must be float32 or float64, or in half precision, not {value.dtype}: "
                f"convert it by {name}.float()"
            )


def _check_width(x: Tensor, loc: Tensor) -> None:
    if x.dim() == 0 or x.shape[-1] != loc.shape[1]:
        raise ValueError(f"x {tuple(x.shape)} must end with loc's {loc.shape[1]} inputs")


@untraced
def check_input(x: Tensor, loc: Tensor) -> None:
    """Raise an error unless an input fits to a layer whose parameters are known to be right."""
    _check_width(x, loc)
    if x.dtype != loc.dtype:
        raise TypeError(f"x must have the parameters' dtype {loc.dtype}, not {x.dtype}")
    if x.device != loc.device:
        raise ValueError(f"x must be on the parameters' device {loc.device}, not on {x.device}")


@untraced
def check_layer(x: Tensor, loc: Tensor, log_scale: Tensor, logits: Tensor, name: str) -> None:
    """Raise an error unless an input and a layer's parameters fit together."""
    if loc.dim() != 2 or 0 in loc.shape:
        raise ValueError(f"loc must be (M, N) with M and N at least 1, not {tuple(loc.shape)}")
    if log_scale.shape != loc.shape or logits.shape != loc.shape:
        raise ValueError(
            f"loc {tuple(loc.shape)}, log_scale {tuple(log_scale.shape)} and {name} "
            f"{tuple(logits.shape)} must have the same shape"
        )
    _check_width(x, loc)
    check_floats(x=x)
    if not x.dtype == loc.dtype == log_scale.dtype == logits.dtype:
        raise TypeError(
            f"x, loc, log_scale and {name} must have one dtype, not {x.dtype}, {loc.dtype}, "
            f"{log_scale.dtype} and {logits.dtype}"
        )
    if not x.device == loc.device == log_scale.device == logits.device:
        raise ValueError(
            f"x, loc, log_scale and {name} must be on one device, not {x.device}, {loc.device}, "
            f"{log_scale.device} and {logits.device}"
        )


@untraced
def check_known(known: Tensor, x: Tensor) -> None:
    """Raise an error unless this says of an input's values which are known."""
    if known.dtype != torch.bool:
        raise TypeError(f"known must be bool, True where an input is known, not {known.dtype}")
    if known.shape != x.shape:
        raise ValueError(f"known must be of x's shape {tuple(x.shape)}, not {tuple(known.shape)}")
    if known.device != x.device:
        raise ValueError(f"known must be on x's device {x.device}, not on {known.device}")


@untraced
def check_start(start: Tensor, x: Tensor, loc: Tensor) -> None:
    """Raise an error unless the scores of empty prefixes fit to an input and a layer."""
    shape = (x.shape[0], loc.shape[0])
    if start.shape != shape:
        raise ValueError(f"start must be (B, M), here {shape}, not {tuple(start.shape)}")
    if start.dtype != x.dtype:
        raise TypeError(f"start must have x's dtype {x.dtype}, not {start.dtype}")
    if start.device != x.device:
        raise ValueError(f"start must be on x's device {x.device}, not on {start.device}")


@untraced
def check_positions(positions: Tensor, x: Tensor) -> None:
    """Raise an error unless positions are increasing ones of an input, where they have numbers."""
    if positions.dtype != torch.int64:
        raise TypeError(f"positions must be int64, not {positions.dtype}")
    if positions.dim() != 1:
        raise ValueError(f"positions must be (P,), not {tuple(positions.shape)}")
    if positions.device != x.device:
        raise ValueError(f"positions must be on x's device {x.device}, not on {positions.device}")
    if not has_numbers(positions) or not len(positions):
        return
    first, last, n_in = int(positions[0]), int(positions[-1]), x.shape[1]
    if first < 0 or last >= n_in or not bool((positions.diff() > 0).all()):
        raise ValueError(f"positions must increase strictly from 0 at least to {n_in - 1} at most")


@untraced
def check_candidates(
    x: Tensor, values: Tensor, coordinates: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Which inputs are replaced, and by what: in full, unless all rows have the same candidates.

    Args:
        x: (..., N).
        values: (G,), (C, G) or (..., C, G).
        coordinates: (C,); None: all.

    Returns:
        (C,); and (rows, C, G) or (1, C, G).

    Raises:
        TypeError: one is no tensor, the values are not of x's type, or the coordinates no int64.
        ValueError: the shapes or devices do not fit, or there is no such input.
    """
    check_tensors(x=x, values=values)
    if x.dim() == 0:
        raise ValueError("x must have inputs along its last dimension, and has no dimension")
    if coordinates is None:
        coordinates = torch.arange(x.shape[-1], device=x.device)
    check_tensors(coordinates=coordinates)
    _check_coordinates(coordinates, x)
    if values.dtype != x.dtype:
        raise TypeError(f"values must have x's dtype {x.dtype}, not {values.dtype}")
    if values.device != x.device:
        raise ValueError(f"values must be on x's device {x.device}, not on {values.device}")
    count, leading, whole = len(coordinates), values.shape[:-2], x.shape[:-1]
    if values.dim() == 1:
        values = values.expand(count, -1)
    if values.dim() < 2 or values.shape[-2] != count or leading not in ((), whole):
        kinds = ", ".join(f"({kind}G)" for kind in ("", f"{count}, ", _listed(*whole, count)))
        raise ValueError(f"values must be one of {kinds}, not {tuple(values.shape)}")
    return coordinates, values.flatten(0, -3) if leading else values.unsqueeze(0)


def _listed(*sizes: int) -> str:
    return "".join(f"{size}, " for size in sizes)


def _check_coordinates(coordinates: Tensor, x: Tensor) -> None:
    if coordinates.dtype != torch.int64:
        raise TypeError(f"coordinates must be int64, not {coordinates.dtype}")
    if coordinates.dim() != 1:
        raise ValueError(f"coordinates must be (C,), not {tuple(coordinates.shape)}")
    if coordinates.device != x.device:
        raise ValueError(
            f"coordinates must be on x's device {x.device}, not on {coordinates.device}"
        )
    if not has_numbers(coordinates) or not len(coordinates):
        return
    if int(coordinates.min()) < 0 or int(coordinates.max()) >= x.shape[-1]:
        raise ValueError(f"coordinates must be from 0 to {x.shape[-1] - 1}")
