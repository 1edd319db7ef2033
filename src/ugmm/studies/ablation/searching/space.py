"""What a search chooses from: ranges of numbers and lists of values. Imports no Optuna."""

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ugmm.errors import UserError

if TYPE_CHECKING:
    import optuna

__all__ = ["OneOf", "Range", "Space", "read_space"]

_DIGITS = 4  # significant ones of a number that is tried: what is named is what is run


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole if both are."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __str__(self) -> str:
        text = f"{self.low:g} to {self.high:g}"
        text += f" in steps of {self.step:g}" if self.step is not None else ""
        return text + " (logarithmically)" * self.log

    def list_bounds(self) -> list[Any]:
        """Return values that must be valid if all are to be."""
        return [self.low, self.high]

    def distribution(self) -> "optuna.distributions.BaseDistribution":
        """Return what Optuna draws from."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.low, int) and isinstance(self.high, int):
            step = int(self.step) if self.step is not None else 1
            return IntDistribution(self.low, self.high, log=self.log, step=step)
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def read(self, drawn: float) -> float:
        """Return the value that stands for what Optuna drew."""
        if isinstance(drawn, int):
            return drawn
        return min(max(float(f"{drawn:.{_DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True)
class OneOf:
    """One of a list of values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.values))

    def list_bounds(self) -> list[Any]:
        """Return all of them, each of which must be valid."""
        return list(self.values)

    def distribution(self) -> "optuna.distributions.BaseDistribution":
        """Return what Optuna draws from: texts, since it knows no lists."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution([json.dumps(value) for value in self.values])

    def read(self, drawn: str) -> Any:
        """Return the value that stands for what Optuna drew."""
        return json.loads(drawn)


Space = dict[str, Range | OneOf]


def read_space(space: Any, source: str) -> Space:
    """Check an ablation's `space` and return it by key.

    Raises:
        UserError: If an entry is neither a list of values nor a range of numbers.
    """
    if not isinstance(space, dict) or not space:
        raise UserError(f"{source}: search needs a space, such as {{model.dropout: [0.0, 0.3]}}")
    return {str(key): _read_entry(entry, f"{source}: space.{key}") for key, entry in space.items()}


def _read_entry(entry: Any, source: str) -> Range | OneOf:
    if isinstance(entry, list) and entry:
        return OneOf(tuple(entry))
    known = {"low", "high", "log", "step"}
    if not isinstance(entry, dict) or not {"low", "high"} <= set(entry) <= known:
        raise UserError(f"{source} must be a list of values, or {{low: ..., high: ...}}")
    numbers = [v for k, v in entry.items() if k != "log" and v is not None]
    if not all(_is_finite(v) for v in numbers):
        raise UserError(f"{source}: low, high and step must be finite numbers")
    if not isinstance(entry.get("log", False), bool):
        raise UserError(f"{source}: log must be true or false")
    found = Range(**entry)
    if found.low >= found.high:
        raise UserError(f"{source}: low must be below high")
    if found.log and (found.low <= 0 or found.step is not None):
        raise UserError(f"{source}: log needs low above 0, and no step")
    if found.step is not None and found.step <= 0:
        raise UserError(f"{source}: step must be above 0")
    return found


def _is_finite(value: Any) -> bool:
    """Whether a value is a number, and no bool, NaN or infinity."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max  # which a long integer may exceed
