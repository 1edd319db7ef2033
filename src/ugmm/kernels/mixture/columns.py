"""The constants of 16 neurons, a *block*, side by side in the lanes of vectors.

Of each input a block has a *column*: the means, rates and levels of its neurons, one vector each.
In the lanes of neurons that are not there, all three are 0.
"""

# ruff: noqa: ANN001, ANN201
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

from ugmm.kernels.compiled.base2 import ZERO
from ugmm.kernels.compiled.call import compiled
from ugmm.kernels.compiled.lanes import turn
from ugmm.kernels.compiled.vectors import LANES
from ugmm.kernels.mixture.neuron import SLOTS

__all__ = ["COLUMN", "PARTS", "make_columns", "put_sums", "sums_of", "turn_sums"]

PARTS = 3  # of a column: means, rates and levels; or of its sums: of w, w * z and w * z**2
COLUMN = PARTS * LANES


@compiled
def make_columns(constants, columns, block):
    """Turn the constants of a block's neurons about, into one column after another."""
    line, first, flat = constants.shape[1], block * LANES, constants.reshape(constants.size)
    width, n = line // SLOTS, columns.size // COLUMN
    present = min(LANES, len(constants) - first)
    whole = n // LANES * LANES if present == LANES else 0
    for part in range(PARTS):
        for k in range(0, whole, LANES):
            at = first * line + part * width + k
            turn(flat, at, line, columns, k * COLUMN + part * LANES, COLUMN)
        for k in range(whole, n):
            at = k * COLUMN + part * LANES
            for lane in range(present):
                columns[at + lane] = constants[first + lane, part * width + k]
            columns[at + present : at + LANES] = ZERO


@compiled
def turn_sums(sums, lines):
    """Take the sums of all neurons out of a block's: a line each, as `sums_of` has them."""
    flat, n = lines.reshape(lines.size), lines.shape[1] // PARTS
    whole = n // LANES * LANES
    for part in range(PARTS):
        for k in range(0, whole, LANES):
            turn(sums, k * COLUMN + part * LANES, COLUMN, flat, part * n + k, lines.shape[1])
        for k in range(whole, n):
            for lane in range(LANES):
                lines[lane, part * n + k] = sums[k * COLUMN + part * LANES + lane]


@compiled
def sums_of(lane, sums, neuron_sums):
    """Take one neuron's sums out of a block's: those of w, of w * z and of w * z**2."""
    n = neuron_sums.size // PARTS
    for part in range(PARTS):
        for k in range(n):
            neuron_sums[part * n + k] = sums[k * COLUMN + part * LANES + lane]


@compiled
def put_sums(lane, sums, neuron_sums):
    """Put one neuron's sums back into a block's."""
    n = neuron_sums.size // PARTS
    for part in range(PARTS):
        for k in range(n):
            sums[k * COLUMN + part * LANES + lane] = neuron_sums[part * n + k]
