"""The IDX format of MNIST: a magic number, the dimensions, then the bytes."""

import math
import struct

import numpy as np

from ugmm.errors import UserError

__all__ = ["decode_idx", "encode_idx"]

_BYTES = 0x08  # the type code of unsigned bytes, the only one in use here


def encode_idx(array: np.ndarray) -> bytes:
    """Write an array of uint8, of any shape, as the contents of an IDX file."""
    header = struct.pack(f">HBB{array.ndim}I", 0, _BYTES, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array, dtype=np.uint8).tobytes()


def decode_idx(payload: bytes, name: str) -> np.ndarray:
    """Read the contents of an IDX file of unsigned bytes.

    Args:
        payload: The uncompressed contents.
        name: What to call the file in an error.

    Returns:
        A read-only uint8 array of the shape that the header states.

    Raises:
        UserError: If it is not such a file, or is shorter or longer than its header says.
    """
    if len(payload) < 4 or payload[:3] != bytes((0, 0, _BYTES)):
        raise UserError(
            f"{name} is not an IDX file of unsigned bytes; delete it and fetch it again"
        )
    dimensions = payload[3]
    start = 4 + 4 * dimensions
    if len(payload) >= start:
        shape = struct.unpack(f">{dimensions}I", payload[4:start])
        pixels = np.frombuffer(payload, np.uint8, offset=start)
        if pixels.size == math.prod(shape):
            return pixels.reshape(shape)
    raise UserError(
        f"{name} does not hold as many bytes as its header says; delete it and fetch it again"
    )
