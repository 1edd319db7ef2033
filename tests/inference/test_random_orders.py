"""Networks of random order are asked as all others are, and need no draws for it."""

import itertools

import pytest
import torch

from ugmm.inference import Evidence, conditional, marginal, mpe, posterior, sample
from ugmm.nn import AutoregressiveUGMM

D = 5
STATES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=D)))


def make(head="bernoulli", n_classes=2):
    torch.manual_seed(0)
    network = AutoregressiveUGMM(D, n_classes, [8], head, order="random", orders=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return network.double().eval()


def evidence(x, known=(0, 3)):
    mask = torch.zeros(D, dtype=torch.bool).index_fill(0, torch.tensor(known), True)
    return Evidence(x, mask.expand(x.shape))


def test_marginals_of_many_rows_are_those_of_each():
    network, asked = make(), evidence(STATES.double()[::8])
    found = marginal(network, asked)
    assert not found.is_exact
    assert found.is_settled
    for i in range(len(asked)):
        alone = marginal(network, asked[i : i + 1], seed=5)
        torch.testing.assert_close(found.log_prob[i], alone.log_prob[0])


def test_a_conditional_is_one_pass_and_its_error_the_spread_of_the_orders():
    network, row = make(), evidence(STATES.double()[11:12])
    found = conditional(network, 2, row)
    log_share, each = network.by_orders(row, torch.tensor([2]), torch.tensor([[1.0]]))
    p, share = each.exp().squeeze(1), log_share.softmax(0)
    torch.testing.assert_close(found.mean[0], share @ p)
    torch.testing.assert_close(found.error[0], (p - share @ p).square().mean().sqrt())
    assert found.error[0] > 0
    assert not found.is_exact
    assert found.effective[0] == 1
    torch.testing.assert_close(found.log_prob(torch.ones(1, 1)).exp()[0, 0], share @ p)


def test_the_conditional_of_several_features_is_normalised():
    network, row = make(), evidence(STATES.double()[11:12])
    found = conditional(network, [1, 4], row, n=50)
    values = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2)))
    log_share, each = network.by_orders(row, torch.tensor([1, 4]), values)
    p = found.log_prob(values.unsqueeze(1)).squeeze(1).exp()
    torch.testing.assert_close(p, log_share.softmax(0) @ each.exp())
    assert p.sum().item() == pytest.approx(1, abs=1e-12)
    off = each - p.log()
    error = found.log_prob_error(values.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(error, off.square().mean(0).sqrt())


def test_draws_are_as_good_as_independent():
    found = sample(make(), 50, evidence(STATES.double()[11:12]))
    assert found.methods == ("independent",)
    assert found.effective[0] == 50


def test_posteriors_need_no_draws():
    network, asked = make(n_classes=3), evidence(STATES.double()[11:13])
    found = posterior(network, asked)
    labelled = torch.stack(
        [network.marginal(asked.with_label(c), 1, torch.Generator()).log_prob for c in range(3)], 1
    )
    torch.testing.assert_close(found.probs, labelled.softmax(1))
    assert (found.effective == 1).all()
    assert not found.is_exact


@torch.no_grad()
def test_the_mode_is_the_mixtures():
    network, asked = make(), evidence(STATES[::8], known=(0, 1))
    network = network.float()
    found, scores = mpe(network, asked), network.class_scores(STATES)
    for x, value in zip(asked.x, found.log_prob, strict=True):
        best = scores[(STATES[:, :2] == x[:2]).all(1)].max()
        assert value.item() == pytest.approx(best.item(), abs=1e-5)
