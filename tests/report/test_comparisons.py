"""Ranks and tests over tables, against a published example, SciPy and all signs written out."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import wilcoxon

from ugmm.report.comparisons import cliques, rank_models, signed_rank_p

# Demsar 2006, table 6: areas under the ROC curve of four trees on 14 data sets.
TREES = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],  # by their ranks there, unequal before rounding
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_ranks_of_a_published_example():
    found = rank_models(TREES)
    np.testing.assert_allclose(found.means, [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    assert found.critical == pytest.approx(1.25, abs=0.005)  # q = 2.569
    assert 0.01 < found.p < 0.05  # chi squared of 9.28 or, by its ties, some more
    # As the paper finds: nothing at 5%, and at 10% the first is worse than the second and fourth.
    assert cliques(found.means.tolist(), found.critical) == [(3, 1, 2, 0)]
    assert cliques(found.means.tolist(), 1.12) == [(3, 1, 2), (2, 0)]


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_critical_values_of_nemenyi(k, q):
    """Demsar's table 5a; the critical difference is q sqrt(k (k + 1) / 6 N)."""
    n = 7
    values = np.random.default_rng(0).random((n, k))
    assert rank_models(values).critical == pytest.approx(
        q * (k * (k + 1) / 6 / n) ** 0.5, rel=5e-4
    )


def test_friedmans_test_needs_three_of_each():
    assert rank_models(TREES[:, :2]).p is None
    assert rank_models(TREES[:2]).p is None


def test_groups_that_another_holds_are_left_out():
    assert cliques([1.0, 1.5, 2.2, 5.0], 1.0) == [(0, 1), (1, 2)]
    assert cliques([3.0, 1.0, 2.0], 5.0) == [(1, 2, 0)]
    assert cliques([1.0, 3.0], 1.0) == []


def test_signed_ranks_as_scipy_has_them_without_ties():
    draws = np.random.default_rng(1)
    for n in (1, 2, 5, 10, 40):
        differences = draws.normal(0.4, 1, n)
        method = "exact" if n < 17 else "auto"
        expected = wilcoxon(differences, method=method).pvalue
        assert signed_rank_p(differences) == pytest.approx(expected)


def test_signed_ranks_with_ties_and_zeros_by_all_signs():
    differences = [0.0, 1.0, 1.0, -1.0, 2.0, 3.0]
    ranks = np.array([2.0, 2.0, 2.0, 4.0, 5.0])  # of 1, 1, 1, 2, 3
    sums = [ranks @ np.array(signs) for signs in product((0, 1), repeat=5)]
    own = 2 + 2 + 4 + 5
    expected = np.mean([abs(total - 7.5) >= abs(own - 7.5) for total in sums])
    assert signed_rank_p(differences) == pytest.approx(expected)
    assert signed_rank_p([0.0, 0.0]) is None
    assert signed_rank_p([0.1] * 10) == pytest.approx(2 / 1024)


def test_ties_do_not_depend_on_how_numbers_were_rounded():
    computed = (0.9 - 0.8, 0.4 - 0.3, -(0.3 - 0.2), 0.25, 0.35)
    assert signed_rank_p(computed) == signed_rank_p((0.1, 0.1, -0.1, 0.25, 0.35))
    assert signed_rank_p([0.1 + 0.2 - 0.3] * 5) is None
    values = np.array([[0.3, 0.1 + 0.2], [0.1 + 0.2, 0.3], [0.3, 0.3]])
    assert rank_models(values).means.tolist() == [1.5, 1.5]
    assert rank_models(np.hstack([values, values])).p is None
