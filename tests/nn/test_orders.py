"""Networks of random order: every order a network of its own, and their mixture a density."""

import itertools

import pytest
import torch
from scipy.stats import chisquare

from ugmm.nn import AutoregressiveUGMM, Evidence
from ugmm.nn.autoregressive.orders import known_first
from ugmm.nn.evidence import UNKNOWN

D = 6
STATES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=D)))


def make(n_classes=1, head="bernoulli", seed=0, dtype=torch.float64, **settings):
    """A network away from what is only so at the start."""
    torch.manual_seed(seed)
    settings = {"hidden": (7, 5), "order": "random", "orders": 3, **settings}
    network = AutoregressiveUGMM(D, n_classes, head=head, components=2, **settings)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return network.to(dtype).eval()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(network, n=5):
    x = torch.randn(n, D, generator=seeded(), dtype=network.start.dtype)
    x = (x > 0).to(x) if network.binary else x
    return x, torch.arange(n) % network.n_classes


def chain(network, x, y, order):
    """The formula of the conditionals of one row, feature by feature."""
    prefix, head = network.prefix, network.head
    h, found = network.start[y].clone(), []
    for step, feature in enumerate(order.tolist()):
        g = network.norms[0](h)
        for norm, layer in zip(list(network.norms)[1:], network.layers, strict=True):
            g = norm(layer(g))
        logits = head.weight[feature] @ g + head.bias[feature]
        if network.binary:
            found.append(torch.distributions.Bernoulli(logits=logits).log_prob(x[feature]))
        else:
            earlier = order[:step]
            mean = head.loc[feature] + head.slope[feature][:, earlier] @ x[earlier]
            scale = head.min_scale + head.raw_scale[feature].exp()
            each = torch.distributions.Normal(mean, scale).log_prob(x[feature])
            found.append((logits.log_softmax(-1) + each).logsumexp(-1))
        component = torch.distributions.Normal(prefix.loc[:, feature], prefix.scale[:, feature])
        weight = prefix.logits.log_softmax(-1)[:, feature]
        h = torch.logaddexp(h, weight + component.log_prob(x[feature]))
    return torch.stack(found)


@pytest.mark.parametrize("n_classes", [1, 3])
@pytest.mark.parametrize("head", ["gaussian", "bernoulli"])
def test_a_pass_is_the_chain_of_its_order(head, n_classes):
    network = make(n_classes, head)
    x, y = rows(network)
    for seed in range(3):
        order = torch.randperm(D, generator=seeded(seed))
        with torch.no_grad():
            found = network.conditionals(x, y, order=order)
            for row, label, values in zip(x, y, found, strict=True):
                torch.testing.assert_close(values, chain(network, row, label, order))
            for chosen in ([0], [1, 4], [5]):
                some = network.conditionals(x, y, torch.tensor(chosen), order)
                torch.testing.assert_close(some, found[:, chosen])
            twin = network.in_order(order)
            torch.testing.assert_close(twin.conditionals(x[:, order], y), found)
            prefixes = network.prefix_log_prob(x, y, order)
            torch.testing.assert_close(prefixes, twin.prefix_log_prob(x[:, order], y))


def test_a_conditional_looks_at_nothing_that_follows_in_its_order():
    network, order = make(head="gaussian"), torch.tensor([3, 0, 5, 1, 4, 2])
    x, y = rows(network)
    x.requires_grad_()
    for step in range(D):
        found = network.conditionals(x, y, order=order)[:, step].sum()
        (gradient,) = torch.autograd.grad(found, x)
        assert (gradient[:, order[step + 1 :]] == 0).all()
        assert step == 0 or (gradient[:, order[:step]] != 0).any()


@pytest.mark.parametrize("n_classes", [1, 3])
def test_the_mixture_of_orders_is_a_density(n_classes):
    network = make(n_classes)
    with torch.no_grad():
        scores = network.class_scores(STATES.double())
        assert scores.exp().sum().item() == pytest.approx(1, abs=1e-10)
        y = torch.arange(len(STATES)) % n_classes
        each = [network.in_order(o)(STATES.double()[:, o], y) for o in network.orders]
        expected = torch.stack(each).exp().mean(0).log()
    torch.testing.assert_close(network(STATES.double(), y), expected)
    assert (torch.stack(each).std(0) > 0.01).any()


def test_training_takes_new_orders_at_each_step_for_parts_of_a_batch():
    network = make(2).train()
    x, y = rows(network, 10)
    state = torch.get_rng_state()
    first = [network(x, y) for _ in range(2)]
    assert not torch.equal(*first)
    torch.set_rng_state(state)
    prior = network.class_logits.log_softmax(0)
    for found in first:
        for part, labels, values in zip(x.split(2), y.split(2), found.split(2), strict=True):
            order = torch.randperm(D)
            for row, label, value in zip(part, labels, values, strict=True):
                expected = prior[label] + chain(network, row, label, order).sum()
                torch.testing.assert_close(value, expected)
    assert network(x[0], y[0]).shape == ()
    assert network.class_scores(x).shape == (10, 2)


def test_random_positions_of_random_orders_estimate_the_whole():
    network = make(positions=2, dtype=torch.float32).train()
    x, y = rows(network, 3)
    with torch.no_grad():
        torch.manual_seed(0)
        draws = torch.stack([network(x, y) for _ in range(300)])
        network.positions = None
        whole = torch.stack([network(x, y) for _ in range(300)])
    error = (draws.std(0).square() + whole.std(0).square()).sqrt() / 300**0.5
    assert ((draws.mean(0) - whole.mean(0)).abs() < 4 * error).all()


def test_what_is_known_moves_to_the_front_and_the_rest_stays_in_turn():
    orders = torch.tensor([[3, 0, 2, 1], [1, 2, 3, 0]])
    known = torch.tensor([True, False, True, False])
    assert known_first(orders, known).tolist() == [[0, 2, 3, 1], [2, 0, 1, 3]]


def test_a_checkpoint_brings_its_orders():
    network, other = make(), make(seed=1)
    other.orders.copy_(other.orders.flip(1))
    x, y = rows(network)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(x, y), network(x, y))
    assert "orders" not in make(order="fixed").state_dict()


def test_draws_are_of_the_mixture():
    network = make(2, dtype=torch.float32)
    n = 20_000
    x, y = network.sample(n, generator=seeded())
    with torch.no_grad():
        expected = network.class_scores(STATES).double().exp()
    state = (x @ 2.0 ** torch.arange(D - 1, -1, -1)).long()
    counts = torch.bincount(2 * state + y, minlength=2 * len(STATES))
    probs = expected.flatten() / expected.sum()
    kept = probs * n > 5
    observed = torch.cat([counts[kept], counts[~kept].sum().view(1)])
    wanted = n * torch.cat([probs[kept], probs[~kept].sum().view(1)])
    assert chisquare(observed, wanted).pvalue > 1e-3


@pytest.mark.parametrize("head", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("y", [None, torch.tensor([1, 0, 1])])
def test_what_is_given_stays(head, y):
    network = make(2, head)
    given = rows(network, 3)[0][:, :4]
    x, labels = network.sample(3, y, seeded(), given)
    assert torch.equal(x[:, :4], given)
    assert y is None or torch.equal(labels, y)
    assert x[:, 4:].isfinite().all()
    one, _ = network.sample(5, generator=seeded(), given=given[0])
    assert torch.equal(one[:, :4], given[:1].expand(5, 4))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"order": "sorted"}, "order must be 'fixed' or 'random', got 'sorted'"),
        ({"order": "random", "orders": 1}, "orders must be at least 2, got 1"),
    ],
)
def test_bad_arguments(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        AutoregressiveUGMM(3, **arguments)


@pytest.mark.parametrize("order", [[0, 1, 2], [0, 1, 2, 3, 4, 4], [1, 2, 3, 4, 5, 6]])
def test_no_order_of_the_features_is_refused(order):
    network = make()
    with pytest.raises(ValueError, match="an order"):
        network.conditionals(*rows(network), order=torch.tensor(order))
    with pytest.raises(ValueError, match="an order"):
        network.in_order(torch.tensor(order))


def moved_mixture(network, known):
    """Log p of all states and classes by each order with the known features moved: (K, S, C)."""
    states, classes = STATES.to(network.start), range(network.n_classes)
    found = []
    for order in known_first(network.orders, known):
        twin = network.in_order(order)
        y = [torch.full((len(states),), c) for c in classes]
        found.append(torch.stack([twin(states[:, order], c) for c in y], -1))
    return torch.stack(found).double()


@pytest.mark.parametrize("label", [UNKNOWN, 2])
def test_marginals_are_sums_over_what_is_not_known(label):
    network = make(3)
    x = rows(network, 2)[0]
    for known in STATES[::9].bool():  # none and all are among them
        evidence = Evidence(x, known.expand(2, D), torch.full((2,), label))
        found = network.marginal(evidence, 1, seeded())
        agrees = ((x[:, None] == STATES) | ~known).all(-1)  # (2, S)
        each = moved_mixture(network, known)
        each = each if label == UNKNOWN else each[..., [label]]
        each = each.masked_fill(~agrees[:, None, :, None], -torch.inf).logsumexp((2, 3))
        torch.testing.assert_close(found.log_prob, each.exp().mean(1).log())
        assert (found.effective == 1).all()
        if known.all() or not known.any():
            assert found.is_exact
            assert (found.error == 0).all()
        else:
            torch.testing.assert_close(found.error, each.std(1))


def test_with_all_or_nothing_known_there_is_one_density():
    network = make(2)
    x, y = rows(network)
    labelled = network.marginal(Evidence(x, y=y), 1, seeded())
    torch.testing.assert_close(labelled.log_prob, network(x, y).detach())
    torch.testing.assert_close(
        network.marginal(Evidence(x), 1, seeded()).log_prob, network.log_prob(x).detach()
    )
    nothing = network.marginal(Evidence.nothing(D), 1, seeded())
    assert nothing.log_prob.abs().max() < 1e-12


def test_a_rows_answer_is_its_own():
    """Rows of several masks at once, and one by one."""
    network = make(2, "gaussian")
    x, _ = rows(network, 20)
    known = torch.rand(20, D, generator=seeded()) < 0.5
    evidence = Evidence(x, known)
    together = network.marginal(evidence, 1, seeded())
    for i in range(20):
        alone = network.marginal(evidence[i : i + 1], 1, seeded())
        torch.testing.assert_close(together.log_prob[i], alone.log_prob[0])
        torch.testing.assert_close(together.error[i], alone.error[0])


@pytest.mark.parametrize("label", [UNKNOWN, 1])
@pytest.mark.parametrize("known", [[1, 4], [0, 2, 3], []])
def test_draws_given_evidence_are_of_the_moved_orders(known, label):
    network, n = make(2, dtype=torch.float32), 10_000
    mask = torch.zeros(D, dtype=torch.bool).index_fill(0, torch.tensor(known).long(), True)
    x = torch.stack([torch.zeros(D), torch.ones(D)])
    evidence = Evidence(x, mask.expand(2, D), torch.full((2,), label))
    state = torch.get_rng_state()
    found = network.draw(evidence, n, seeded())
    again = network.draw(evidence, n, seeded())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(found.x, again.x)
    assert torch.equal(found.y, again.y)
    assert found.x.shape == (2, n, D)
    assert (found.x[:, :, mask] == x[:, None, mask]).all()
    torch.testing.assert_close(found.log_weight.logsumexp(1), torch.zeros(2).double())
    marginal = network.marginal(evidence, n, seeded())
    torch.testing.assert_close(found.marginal.log_prob, marginal.log_prob)
    joint = moved_mixture(network, mask).exp().mean(0)  # (S, C)
    code = 2.0 ** torch.arange(D - 1, -1, -1)
    for row, drawn, y in zip(x, found.x, found.y, strict=True):
        p = joint * ((row == STATES) | ~mask).all(1)[:, None]
        if label != UNKNOWN:
            p = p * (torch.arange(2) == label)
        p = (p / p.sum()).flatten()
        counts = torch.bincount(2 * (drawn @ code).long() + y, minlength=len(p))
        kept = p * n > 5
        observed = torch.cat([counts[kept], counts[~kept].sum().view(1)])
        wanted = n * torch.cat([p[kept], p[~kept].sum().view(1)])
        assert observed[-1] == 0 if wanted[-1] == 0 else True
        wanted = wanted.clamp(min=1e-9)
        assert chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue > 1e-3


def test_a_label_out_of_range_is_refused():
    evidence = Evidence(torch.zeros(1, D), y=torch.tensor([3]))
    with pytest.raises(ValueError, match="a label is 3, and it must be 0 to 2"):
        make(3).marginal(evidence, 1, seeded())


def test_evidence_of_no_rows_has_no_answers():
    network = make(2)
    nothing = Evidence.nothing(D, 0)
    assert network.marginal(nothing, 1, seeded()).log_prob.shape == (0,)
    assert network.draw(nothing, 3, seeded()).x.shape == (0, 3, D)


def test_each_order_says_its_own_of_more_features():
    network = make(2)
    x = rows(network, 1)[0]
    known = torch.tensor([True, False, False, True, False, False])
    row, features = Evidence(x, known[None]), torch.tensor([4, 1])
    values = torch.tensor(list(itertools.product([0.0, 1.0], repeat=2)))
    log_prob, given = network.by_orders(row, features, values)
    torch.testing.assert_close(given.exp().sum(1), torch.ones(3).double())
    orders = known_first(network.orders, known)
    then = known_first(orders, known.index_fill(0, features, True))
    assert torch.equal(orders[:, :2], then[:, :2])
    for k in range(3):
        y = torch.arange(2)
        start = network.prefix_log_prob(x.expand(2, D), y, then[k])[:, 1].logsumexp(0)
        torch.testing.assert_close(log_prob[k], start.detach())
        for value, found in zip(values, given[k], strict=True):
            whole = x.clone()
            whole[0, features] = value.double()
            joint = network.prefix_log_prob(whole.expand(2, D), y, then[k])[:, 3].logsumexp(0)
            torch.testing.assert_close(found, (joint - start).detach())


@torch.no_grad()
def test_beams_of_all_orders_find_the_best_of_their_modes():
    network = make(3)
    x = rows(network, 4)[0]
    known = torch.rand(4, D, generator=seeded()) < 0.5
    evidence = Evidence(x, known, torch.tensor([UNKNOWN, 1] * 2))
    found = network.beam(evidence, 3 * len(STATES))
    scores = network.class_scores(STATES.double())
    for i in range(4):
        allowed = ((x[i] == STATES) | ~known[i]).all(1)[:, None].expand(-1, 3).clone()
        allowed[:, [0, 2]] &= i % 2 == 0
        each = moved_mixture(network, known[i]).masked_fill(~allowed, -torch.inf)
        modes = each.flatten(1).argmax(1)
        torch.testing.assert_close(found.log_prob[i], scores.flatten()[modes].max())
    torch.testing.assert_close(found.log_prob, network(found.x, found.y))
    assert torch.equal(found.x.where(known, 0), evidence.x)
