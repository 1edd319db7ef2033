"""Networks that take NaN for inputs that are not known."""

import math

import pytest
import torch
from torch.testing import assert_close

from ugmm.baselines import MLP
from ugmm.nn import (
    UGMM,
    AutoregressiveUGMM,
    Classifier,
    JointScore,
    UGMMCircuit,
    UGMMNetwork,
)
from ugmm.tasks import DiscriminativeTask
from ugmm.tasks.remake import remake


def rows_with_gaps(n=40, width=5):
    """Rows with gaps; of the first nothing is known, of the second everything."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(n, width, generator=generator)
    gaps = torch.rand(n, width, generator=generator) < 0.4
    gaps[:, 2] = gaps[1] = False
    gaps[0] = True
    return x.masked_fill(gaps, math.nan)


def network(*sizes, **options):
    torch.manual_seed(1)
    return UGMMNetwork(sizes, norm="layer", missing=True, init="paper", **options)


def test_nan_is_an_input_that_is_left_out():
    x = rows_with_gaps()
    plain = UGMMNetwork([5, 6, 3], norm="layer").eval()
    expected = plain.marginal_class_scores(x, ~x.isnan())
    plain.expect_missing()
    assert_close(plain(x), expected)
    scores = plain.class_scores(x)
    assert_close(scores[1:], expected[1:])
    assert_close(plain.marginal_class_scores(x.nan_to_num(7), ~x.isnan()), scores)
    assert_close(plain.class_scores(x[2]), scores[2])


def test_a_row_of_which_nothing_is_known_is_the_prior():
    model = network(5, 6, 3).eval()
    nothing = torch.full((2, 5), math.nan)
    assert_close(model.posterior(nothing), torch.full((2, 3), 1 / 3))
    shares = torch.tensor([0.2, 0.7, 0.1])
    model.set_prior(shares)
    assert_close(model.posterior(nothing), shares.expand(2, 3))
    assert_close(model.marginal_class_scores(nothing, ~nothing.isnan()), shares.log().expand(2, 3))


@pytest.mark.parametrize(
    ("weighed", "shares"), [("none", (0.25, 0.5, 0.25)), ("balanced", (1 / 3, 1 / 3, 1 / 3))]
)
def test_a_task_tells_the_prior(weighed, shares):
    model = network(5, 3)
    task = DiscriminativeTask(model, 3, class_weights=weighed)
    task.prepare(rows_with_gaps(4), torch.tensor([0, 1, 1, 2]))
    assert_close(model.posterior(torch.full((5,), math.nan)), torch.tensor(shares))


def test_pairs_leave_out_what_the_whole_rows_leave_out():
    model = network(8, 6, 1).double().eval()
    x, codes = rows_with_gaps().double(), torch.eye(3).double()

    def gradients(scores):
        return torch.autograd.grad(scores.square().sum(), list(model.parameters()))

    fast, slow = model.score_pairs(x, codes), Classifier.score_pairs(model, x, codes)
    assert_close(fast, slow)
    assert fast.isfinite().all()
    for ours, theirs in zip(gradients(fast), gradients(slow), strict=True):
        assert_close(ours, theirs)
    with model.prepared(), torch.no_grad():
        assert_close(model.score_pairs(x, codes), slow)


def test_pairs_know_the_code_where_it_is_far_away():
    layer = UGMM(3, 2, missing=True)
    layer.loc.data[:, 2] = 300.0
    nothing, codes = torch.full((1, 2), math.nan), torch.zeros(1, 1)
    alone = layer.marginal_score(torch.zeros(1, 3), torch.tensor([[False, False, True]]))
    assert_close(layer.score_pairs(nothing, codes)[0], alone)


def test_a_joint_score_asks_its_network():
    score = JointScore(UGMMNetwork([7, 4, 1]), 2)
    score.expect_missing()
    x = rows_with_gaps()
    scores = score.eval().class_scores(x)
    assert_close(scores[:, 1], score(x, torch.ones(len(x), dtype=torch.long)))


def test_dropout_leaves_something_that_is_known():
    layer = UGMM(20, 3, input_dropout=0.9, missing=True)
    x = torch.full((500, 20), math.nan)
    place = torch.randint(20, (500,))
    x[torch.arange(500), place] = torch.randn(500)
    assert_close(layer(x), layer.eval()(x))  # the one that is known is never dropped
    layer.train()
    x = torch.randn(4000, 20).masked_fill(torch.arange(20) < 10, math.nan).requires_grad_()
    layer(x).sum().backward()
    assert not x.grad[:, :10].any()
    used = (x.grad[:, 10:] != 0).sum(-1)
    assert used.min() == 1
    assert used.float().mean().item() == pytest.approx(10 * 0.1 + 0.9**10, abs=0.1)


@pytest.mark.parametrize("options", [{}, {"dropout": 0.3}, {"input_dropout": 0.3}])
def test_gaps_give_no_gradient_that_is_not_finite(options):
    model = network(5, 6, 3, **options)
    model.class_scores(rows_with_gaps()).logsumexp(-1).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_a_network_made_again_expects_missing_values_too():
    model = UGMMNetwork([5, 3])
    model.expect_missing()
    task = DiscriminativeTask(model, 3)
    again = remake(task.init_args["network"], Classifier, "network")
    again.load_state_dict(model.state_dict())
    assert_close(again.eval().class_scores(rows_with_gaps()), model.class_scores(rows_with_gaps()))
    assert "missing=True" in repr(again)


def test_other_networks_need_all_inputs():
    with pytest.raises(NotImplementedError, match="MLP cannot do without features"):
        MLP([3, 2]).expect_missing()


@pytest.mark.parametrize("order", ["fixed", "random"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_missing_feature_leaves_out_its_factor_and_its_component(order, dtype):
    torch.manual_seed(0)
    model = AutoregressiveUGMM(5, 2, (7, 4), order=order, orders=2, missing=True).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.eval()
    x, y = rows_with_gaps(8).to(dtype), torch.arange(8) % 2
    found = model(x, y)
    gradients = torch.autograd.grad(found.sum(), list(model.parameters()))
    for row, label, log_prob in zip(x, y, found, strict=True):
        twin = AutoregressiveUGMM(5, 2, (7, 4), order=order, orders=2).to(dtype).eval()
        twin.load_state_dict(model.state_dict())
        known = ~row.isnan()
        log_weights = model.prefix.logits.log_softmax(-1).masked_fill(~known, -math.inf)
        # A network without these components: their weights are 0, and others' not renormalised.
        twin.prefix.masked_logits = lambda weights=log_weights: Unnormalised(weights)
        with torch.no_grad():
            orders = [None] if twin.orders is None else list(twin.orders)
            joint = []
            for each in orders:
                factors = twin.conditionals(row.nan_to_num(0)[None], label[None], order=each)[0]
                places = torch.arange(5) if each is None else each
                joint.append(factors[known[places]].sum())
            prior = model.class_logits.log_softmax(0)[label]
            expected = torch.stack(joint).logsumexp(0) - math.log(len(joint)) + prior
        assert_close(log_prob, expected)
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert_close(found[0].exp(), model.class_logits.softmax(0)[0])


class Unnormalised(torch.Tensor):
    """Logits whose `log_softmax` are they themselves."""

    def __new__(cls, weights):
        return weights.as_subclass(cls)

    def log_softmax(self, dim):
        return self.as_subclass(torch.Tensor)


def test_a_missing_feature_teaches_its_component_nothing():
    model = AutoregressiveUGMM(4, hidden=(6, 3), missing=True).train()
    x = torch.randn(9, 4)
    x[:, 1] = math.nan
    model(x, torch.zeros(9, dtype=torch.long)).sum().backward()
    for parameter in (model.prefix.loc, model.prefix.raw_scale):
        assert not parameter.grad[:, 1].any()
        assert parameter.grad[:, 0].any()
    assert not model.head.weight.grad[1].any()
    assert not model.head.slope.grad[:, :, 1].any()


@pytest.mark.parametrize("head", ["bernoulli", "levels"])
def test_a_missing_pixel_leaves_out_its_weight_among_neighbours(head):
    """The network whose weights of that pixel are 0 says the same, and other weights count."""
    torch.manual_seed(0)
    model = AutoregressiveUGMM(9, hidden=(5,), head=head, levels=3, neighbours=1, missing=True)
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.add_(torch.randn_like(parameter))
        x, y = torch.randint(2, (6, 9)).double(), torch.zeros(6, dtype=torch.long)
        x[:, 4] = math.nan
        found = model.conditionals(x, y)
        near = model.head.near
        weight = near.weight.clone()
        near.weight[near.places == 4] = 0
        assert_close(model.conditionals(x, y), found)
        near.weight.copy_(weight)
        near.weight[near.places == 3] = 0
        assert (model.conditionals(x, y) - found).abs().max() > 0.1


@pytest.mark.parametrize("train", [False, True])
def test_some_positions_of_rows_with_gaps_are_right_on_average(train):
    torch.manual_seed(0)
    model = AutoregressiveUGMM(5, 2, (7, 4), positions=2, missing=True).train(train)
    x, y = rows_with_gaps(8), torch.arange(8) % 2
    with torch.no_grad():
        found = torch.stack([model(x, y) for _ in range(600)]).mean(0)
        assert_close(found, model.eval()(x, y), atol=0.3, rtol=0)


def test_a_circuit_integrates_out_what_is_missing():
    torch.manual_seed(0)
    model, x = UGMMCircuit(5, 3, channels=3, components=2, repetitions=2).eval(), rows_with_gaps()
    expected = model.marginal_class_scores(x, ~x.isnan())
    model.expect_missing()
    assert_close(model.class_scores(x), expected)
    assert_close(model.posterior(x)[0], model.class_logits.softmax(0).detach())
    assert UGMMCircuit(**model.init_args).missing
