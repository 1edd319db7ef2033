"""R-hat and effective sizes of chains."""

import numpy as np
import pytest

from ugmm.report.chains import diagnose_chains

pytest.importorskip("arviz_stats", reason="the extra diagnostics is not installed")


def test_chains_that_differ_and_features_that_never_change():
    draws = np.random.default_rng(0).normal(size=(16, 60, 3))
    draws[..., 1] = 2.0
    draws[:8, :, 2] += 3
    found = diagnose_chains(draws)
    assert found.rhat[0] < 1.01
    assert found.rhat[1] == 1
    assert found.worst_rhat == found.rhat[2] > 1.5
    assert found.effective[0] == pytest.approx(960, rel=0.1)
    assert found.effective[1] == 960
    assert found.least_effective == found.effective[2] < 50


def test_chains_of_which_all_is_known():
    found = diagnose_chains(np.ones((4, 10, 2)))
    assert (found.worst_rhat, found.least_effective) == (1, 40)


@pytest.mark.parametrize("shape", [(1, 100, 2), (4, 3, 2)])
def test_too_little_to_compare(shape):
    with pytest.raises(
        ValueError, match=r"at least 2 chains of 4 draws, got .*; ask for more draws"
    ):
        diagnose_chains(np.ones(shape))
