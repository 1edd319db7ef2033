"""Tiles for the loops of the score on a CPU: rows of inputs, padded to whole vectors.

Where inputs are unknown a second tile, of as many rows, has 1 for each known input and else 0.
"""

# ruff: noqa: ANN001, ANN201, ANN202
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import numpy as np

from ugmm.kernels.compiled.base2 import ZERO
from ugmm.kernels.compiled.call import compiled, inlined, padded
from ugmm.kernels.compiled.threads import ROWS, TILE
from ugmm.kernels.compiled.vectors import (
    LANES,
    add,
    load,
    multiply,
    splat,
    store,
    subtract,
    sum_lanes,
)
from ugmm.kernels.mixture.neuron import OVERFLOW

__all__ = ["fill_tiles", "make_tiles"]


@compiled
def _load_known(x, known, start, stop, tile, mask, width):
    """Copy the known inputs of rows into a padded tile, and 1 for each into another."""
    n = x.shape[1]
    tile[:], mask[:] = ZERO, ZERO
    for b in range(start, stop):
        at = (b - start) * width
        for k in range(n):
            mask[at + k] = np.float32(known[b, k] != 0)
            tile[at + k] = x[b, k] if known[b, k] else ZERO


@compiled
def _mark_rows(tile, width, ordinary):
    """Set a row of a tile that has a huge or non-finite input to 0, and mark it."""
    for i in range(ordinary.size):
        row = tile[i * width : (i + 1) * width]
        bad = splat(ZERO)
        for k in range(0, width, LANES):
            scaled = multiply(load(row, k), splat(OVERFLOW))
            bad = add(bad, subtract(scaled, scaled))  # inf - inf and NaN - NaN are NaN
        ordinary[i] = sum_lanes(bad) == ZERO
        if not ordinary[i]:
            row[:] = ZERO


@compiled
def _load_rows(x, start, stop, tile, width):
    """Copy rows into a padded tile."""
    n = x.shape[1]
    whole = n // LANES * LANES
    for b in range(start, stop):
        row, at = x[b], (b - start) * width
        for k in range(0, whole, LANES):
            store(tile, at + k, load(row, k))
        for k in range(whole, n):
            tile[at + k] = row[k]
        tile[at + n : at + width] = ZERO
    tile[(stop - start) * width :] = ZERO


@inlined
def make_tiles(task, n, masked):
    """Room for a block of rows: the inputs, which are known, and which rows are ordinary."""
    width, rows = padded(n), (task[1] - task[0] + ROWS - 1) // ROWS
    height = min(max(TILE // width // ROWS, 1), rows) * ROWS
    tile, mask = np.empty(height * width, np.float32), np.empty(0, np.float32)
    if masked:
        mask = np.empty(height * width, np.float32)
    return height, tile, mask, np.empty(height, np.bool_)


@inlined
def fill_tiles(x, known, start, stop, tile, mask, ordinary):
    """Load a block of rows."""
    width = padded(x.shape[1])
    if mask.size > 0:
        _load_known(x, known, start, stop, tile, mask, width)
    else:
        _load_rows(x, start, stop, tile, width)
    _mark_rows(tile, width, ordinary)
