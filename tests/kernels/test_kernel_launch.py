"""Launches of Triton kernels, which need no GPU to be looked at."""

import pytest


def test_the_second_launch_of_a_kind_is_as_the_first(without_interpreter):
    """Four launches a step of the mixture; three where parameters are prepared."""
    pytest.importorskip("triton")
    without_interpreter("launches.py")
