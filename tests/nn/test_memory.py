"""The memory of columns: its formula, where it begins, and that drawing goes along with it."""

import math

import pytest
import torch

from ugmm.nn import AutoregressiveUGMM, Evidence


def make(hidden=(6,), **settings):
    torch.manual_seed(0)
    more = {"head": "bernoulli", "image_shape": (4, 3), "memory": "columns", **settings}
    network = AutoregressiveUGMM(12, 2, hidden, **more).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


def test_scores_are_of_weights_that_sum_to_one():
    network = make()
    x, y = torch.rand(5, 12, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1])
    prefix, b = network.prefix, network.start_logits
    log_p = torch.distributions.Normal(prefix.loc, prefix.scale).log_prob(x.unsqueeze(1))
    expected = []
    for d in range(12):
        weights = torch.cat([b.unsqueeze(1), prefix.logits[:, :d]], 1).softmax(1)
        known = torch.cat([network.start[y].unsqueeze(2), log_p[:, :, :d]], 2).exp()
        expected.append((weights * known).sum(2).log())
    expected = network.norms[0](torch.stack(expected, 1))
    torch.testing.assert_close(network.features(x, y), expected)
    chosen = torch.tensor([0, 4, 11])
    torch.testing.assert_close(network.features(x, y, chosen), expected[:, chosen])


def test_it_begins_with_the_last_pixel_of_each_column():
    torch.manual_seed(0)
    network = AutoregressiveUGMM(
        12, 1, (6,), head="bernoulli", image_shape=(4, 3), memory="columns"
    )
    logits, loc = network.prefix.logits, network.prefix.loc
    assert (logits[0].view(4, 3).argmax(1) == 0).all()
    assert (logits[4].view(4, 3).argmax(1) == 1).all()
    assert (logits.view(6, 4, 3).diff(dim=1) > 1).all()
    torch.testing.assert_close(loc.mean(1), torch.tensor([0.0, 0, 0, 1, 1, 1]), atol=0.05, rtol=0)
    before = loc.clone()
    network.init_from(torch.rand(20, 12).round())
    assert torch.equal(network.prefix.loc, before)


@pytest.mark.parametrize("neighbours", [0, 1])
def test_going_from_feature_to_feature_comes_to_the_same(neighbours):
    network = make(neighbours=neighbours)
    with torch.no_grad():
        x, y = network.sample(50, generator=torch.Generator().manual_seed(0))
        walk, h = network.walk(), network.walk().begin(y)
        found = []
        for d in range(12):
            found.append(walk.score_feature(walk.read(h), x, d))
            h = walk.add(h, x[:, d], d)
        torch.testing.assert_close(torch.stack(found, 1), network.conditionals(x, y))


def test_draws_have_the_probabilities_of_a_pass():
    network = make(hidden=(3,), neighbours=1)
    known = torch.arange(12) < 9
    x = (torch.arange(12) % 2).double().where(known, math.nan)
    evidence = Evidence(x.unsqueeze(0))
    drawn = network.draw(evidence, 20_000, torch.Generator().manual_seed(0)).x[0]
    number = drawn[:, 9:].long() @ torch.tensor([4, 2, 1])
    share = torch.bincount(number, minlength=8) / 20_000
    rows = x.repeat(8, 1)
    rows[:, 9:] = torch.tensor([[n >> 2 & 1, n >> 1 & 1, n & 1] for n in range(8)])
    p = network.log_prob(rows).softmax(0).float().detach()
    assert (share - p).abs().max() < 4 * (p.max() / 20_000).sqrt()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"hidden": (4,)}, "hidden begins with 4, which is no multiple of 3"),
        ({"order": "random"}, "in a fixed order"),
        ({"memory": "rows"}, "memory must be 'all' or 'columns', got 'rows'"),
        ({"image_shape": None}, "name image_shape"),
    ],
)
def test_what_is_refused(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        make(**settings)
