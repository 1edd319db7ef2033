"""An export's texts: what is missing in them is what `ugmm.columns` says is missing."""

from itertools import product

import pytest

from ugmm.columns import Column, is_missing
from ugmm.deploy.exports.columns import inputs_of
from ugmm.spec import Spec


@pytest.mark.parametrize("length", range(4))
def test_every_missing_text_is_known(length):
    """Tried on all texts of a few letters, "?" among them."""
    (column,) = inputs_of(
        Spec(2, ("a", "b"), (Column("colour", ("red", "blue")),), keeps_missing=True)
    )
    for letters in product("naNA?x", repeat=length):
        text = "".join(letters)
        assert (text in column.places) == is_missing(text), text
