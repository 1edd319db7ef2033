"""Evidence: what is known of rows, and what is refused as such."""

import math

import pytest
import torch

from ugmm.nn.evidence import UNKNOWN, Evidence, Marginal


def test_nan_says_that_a_feature_is_not_known():
    evidence = Evidence(torch.tensor([[1.0, math.nan], [math.nan, math.nan]]))
    assert evidence.known.tolist() == [[True, False], [False, False]]
    assert evidence.x.tolist() == [[1.0, 0.0], [0.0, 0.0]]
    assert evidence.y.tolist() == [UNKNOWN, UNKNOWN]


def test_one_row_is_a_batch_of_one():
    evidence = Evidence(torch.ones(3), torch.tensor([True, False, True]), torch.tensor(2))
    assert evidence.x.shape == (1, 3)
    assert evidence.y.tolist() == [2]


def test_what_an_unknown_feature_holds_does_not_matter():
    x = torch.tensor([[1.0, math.inf]])
    assert Evidence(x, torch.tensor([[True, False]])).x.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((torch.tensor([[1.0, math.inf]]),), "row 0: feature 1 is known, and not finite"),
        ((torch.ones(2, 3), torch.ones(2, 2, dtype=torch.bool)), "a bool mask"),
        ((torch.ones(2, 3), torch.ones(2, 3)), "a bool mask"),
        ((torch.ones(2, 3, 4),), r"features \(n, D\)"),
        ((torch.ones(2, 3), None, torch.zeros(3, dtype=torch.long)), "has labels"),
        ((torch.ones(2, 3), None, torch.zeros(2)), "has labels"),
    ],
)
def test_what_is_no_evidence_is_refused(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        Evidence(*arguments)


def test_patterns_are_the_masks_and_their_rows():
    known = torch.tensor([[True, False], [False, False], [True, False]])
    found = {
        tuple(m.tolist()): r.tolist() for m, r in Evidence(torch.ones(3, 2), known).patterns()
    }
    assert found == {(True, False): [0, 2], (False, False): [1]}


def test_more_can_become_known():
    evidence = Evidence.nothing(3, 2).with_features(
        torch.tensor([2]), torch.tensor([[5.0], [6.0]])
    )
    assert evidence.x[:, 2].tolist() == [5.0, 6.0]
    assert evidence.known.sum(1).tolist() == [1, 1]
    assert evidence.with_label(1).y.tolist() == [1, 1]
    assert [len(part) for part in evidence.split(1)] == [1, 1]
    assert evidence[1:].x[0, 2] == 6


def test_an_exact_answer_has_no_error():
    marginal = Marginal.exact(torch.tensor([-1.0]))
    assert (marginal.error.item(), marginal.effective.item(), marginal.is_exact) == (
        0.0,
        1.0,
        True,
    )


def test_a_label_rules_out_the_other_classes():
    evidence = Evidence(torch.ones(2, 1), y=torch.tensor([UNKNOWN, 1]))
    scores = evidence.restrict(torch.zeros(2, 4, 3))
    assert (scores[0] == 0).all()
    assert scores[1].isfinite().all(0).tolist() == [False, True, False]
