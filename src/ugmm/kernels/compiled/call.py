"""How Python calls a compiled loop: by one record of sizes and addresses; and how it is compiled.

Numba takes a microsecond to unpack each array, and a layer has a dozen; and an OpenMP runtime
passes on one pointer only.
"""

# ruff: noqa: ANN001, ANN201
# mypy: ignore-errors
# Numba, not Python, gives the functions of this file their types.

import functools
import zlib
from pathlib import Path

import numpy as np
from numba import from_dtype, njit, types

from ugmm.kernels.compiled.cache import kept_cfunc
from ugmm.kernels.compiled.vectors import LANES

__all__ = ["CALL", "c_function", "compiled", "inlined", "padded"]

inlined = njit(forceinline=True, error_model="numpy")
compiled = njit(error_model="numpy")

# Numba's disk cache looks for changes in the file of a C function and in its types only, not in
# what it calls from other files. So the record's last field, which is a part of its type, is named
# after all sources that a loop may be made from: those in the folders beside this one, and here.
_FILES = sorted(Path(__file__).parents[1].glob("*/*.py"))
_SOURCES = zlib.crc32(b"".join(file.read_bytes() for file in _FILES))
CALL = np.dtype(
    [
        (name, np.float64 if name == "min_scale" else np.int64)
        for name in (
            "counter", "n_tasks", "tasks", "batch", "n_out", "n_in", "dx_rows",
            "x", "loc", "log_scale", "logits", "min_scale", "known",
            "constants", "total", "kept", "offsets", "score",
            "grad", "dx", "by_loc", "by_log_scale", "by_logits", "by_kept", "more_dx", "more_sums",
            "columns", "at_zero", "zero_sums", "values", "rows", "counts", "ordinary",
            "codes", "across", "factor", "product", "divisor",
            "weights", "start", "dstart", "states", "after", "used", "wanted",
            "others", "coordinates", "shared", "first", "left", "starts",
            f"sources_{_SOURCES}",
        )
    ]
)  # fmt: skip
_SIGNATURE = types.void(types.CPointer(from_dtype(CALL)))
c_function = functools.partial(kept_cfunc, _SIGNATURE, error_model="numpy")


@inlined
def padded(n):
    """How many floats hold n in whole vectors."""
    return (n + LANES - 1) // LANES * LANES
