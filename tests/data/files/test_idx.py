"""The IDX format: written and read back, and refused where it is damaged."""

import numpy as np
import pytest

from ugmm.data.files.idx import decode_idx, encode_idx
from ugmm.errors import UserError


@pytest.mark.parametrize("shape", [(0,), (5,), (2, 3, 4)])
def test_idx_round_trip(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(decode_idx(encode_idx(array), "file"), array)


def test_idx_that_is_cut_short_padded_or_something_else_is_refused():
    whole = encode_idx(np.zeros((2, 3), np.uint8))
    for length in range(len(whole)):
        with pytest.raises(UserError, match=r"file .*fetch it again"):
            decode_idx(whole[:length], "file")
    for wrong in (whole + b"\0", b"\x1f\x8b" + whole, whole[:2] + b"\x0d" + whole[3:]):
        with pytest.raises(UserError, match=r"file .*fetch it again"):
            decode_idx(wrong, "file")
