"""Densities of images by masked convolutions, against definitions and sums over all cases."""

import itertools
import math

import pytest
import torch

from ugmm.nn import MaskedUGMM, PixelUGMM

SHAPE = (3, 3)


def make(head="bernoulli", n_classes=1, **settings):
    torch.manual_seed(0)
    settings = {"hidden": (6, 5), "radius": 1, "head": head, "components": 2} | settings
    network = PixelUGMM(9, n_classes, **settings).double()
    x = pixels(20, network.levels)
    network.init_from(x, torch.arange(20) % n_classes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return network.eval()


def pixels(n, levels):
    return torch.randint(levels, (n, 9)).double() / (levels - 1)


def labels(n):
    return torch.zeros(n, dtype=torch.long)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("radius", [1, 2, 4])
def test_masked_scores_are_those_of_the_definition(radius, binary):
    torch.manual_seed(1)
    layer = MaskedUGMM(SHAPE, radius, 4, 2, binary, 0.1).double()
    x, y = pixels(5, 2 if binary else 256), torch.tensor([0, 1, 1, 0, 1])
    layer.init_from(x)
    with torch.no_grad():
        layer.logits.normal_()
    offsets = [(up, c) for up in range(-radius, 0) for c in range(-radius, radius + 1)]
    offsets += [(0, c) for c in range(-radius, 0)]
    normal = torch.distributions.Normal
    found = layer(x, y)
    assert found.shape == (5, 9, 4)
    for d in range(9):
        i, j = divmod(d, 3)
        seen = [
            (n, (i + up) * 3 + j + c)
            for n, (up, c) in enumerate(offsets)
            if i + up >= 0 and 0 <= j + c < 3
        ]
        expected = layer.start[y]
        if seen:
            taps, places = (torch.tensor(each) for each in zip(*seen, strict=True))
            weights = layer.logits[:, taps].softmax(-1)
            density = normal(layer.loc[:, taps], layer.scale[:, taps])
            mixture = (weights * density.log_prob(x[:, None, places]).exp()).sum(-1)
            expected = (layer.start[y].exp() + mixture).log()
        torch.testing.assert_close(found[:, d], expected)
    some = torch.tensor([0, 3, 8])
    torch.testing.assert_close(layer(x, y, some), found[:, some])


@pytest.mark.parametrize("binary", [True, False])
def test_gradients_are_those_of_differences(binary):
    """Also those of the first pixel, which sees nothing."""
    torch.manual_seed(0)
    layer = MaskedUGMM(SHAPE, 1, 2, 2, binary, 0.1, kernel="reference").double()
    x, y = pixels(3, 2 if binary else 256), torch.tensor([0, 1, 1])
    layer.init_from(x)
    names, values = zip(*layer.named_parameters(), strict=True)
    assert torch.autograd.gradcheck(
        lambda *given: torch.func.functional_call(
            layer, dict(zip(names, given, strict=True)), (x, y)
        ),
        values,
    )


@pytest.mark.parametrize("classes", [1, 2])
def test_binary_images_have_probabilities_that_sum_to_one(classes):
    network = make(n_classes=classes, neighbours=1)
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9)), dtype=torch.float64)
    total = network.class_scores(images).exp().sum()
    torch.testing.assert_close(total.item(), 1.0, rtol=0, atol=1e-12)


def test_conditionals_of_levels_sum_to_one():
    network = make("levels", levels=4, neighbours=1)
    x = pixels(3, 4)
    for d in (0, 4, 8):
        each = x.repeat(4, 1, 1)
        each[:, :, d] = torch.arange(4.0).unsqueeze(1) / 3
        found = network.conditionals(each.flatten(0, 1), labels(12))[:, d].view(4, 3)
        torch.testing.assert_close(found.exp().sum(0), torch.ones(3).double())


@pytest.mark.parametrize("head", ["bernoulli", "levels"])
def test_no_pixel_is_known_before_its_turn(head):
    network = make(head, neighbours=1)
    x = pixels(4, network.levels)
    before = network.conditionals(x, labels(4))
    for d in range(9):
        changed = x.clone()
        changed[:, d] = 1 - changed[:, d]
        after = network.conditionals(changed, labels(4))
        torch.testing.assert_close(after[:, :d], before[:, :d], rtol=0, atol=0)
        assert (after[:, d:] != before[:, d:]).any()


@pytest.mark.parametrize("head", ["bernoulli", "levels"])
def test_what_pixels_share_is_added_to_what_is_their_own(head):
    network = make(head)
    x = pixels(4, network.levels)
    expected = network.conditionals(x, labels(4))
    with torch.no_grad():
        network.head.weight.add_(network.head.common)
        network.head.common.zero_()
    torch.testing.assert_close(network.conditionals(x, labels(4)), expected)


def test_gradients_go_to_what_is_before_and_near_only():
    network = make("levels")
    x = pixels(1, 256).requires_grad_()
    scores = network.features(x, labels(1))
    for d in range(9):
        (grad,) = torch.autograd.grad(scores[0, d].sin().sum(), x, retain_graph=True)
        i, j = divmod(d, 3)
        near = [k < d and i - k // 3 <= 1 and abs(k % 3 - j) <= 1 for k in range(9)]
        assert (grad[0] != 0).tolist() == near


def test_binary_sums_are_the_kernels_scores():
    network = make(radius=2)
    x, y = pixels(7, 2), labels(7)
    sums = network.masked(x, y)
    network.masked.binary = False
    torch.testing.assert_close(network.masked(x, y), sums)


def test_positions_estimate_the_whole():
    network = make(positions=3, hidden=(6,))
    x, y = pixels(3, 2), labels(3)
    with torch.no_grad():
        whole = network(x, y)
        network.train()
        draws = torch.stack([network(x, y) for _ in range(200)])
    error = draws.std(0) / 200**0.5
    assert ((draws.mean(0) - whole).abs() < 4 * error).all()


def test_draws_are_as_frequent_as_they_are_probable():
    network = make(n_classes=2)
    n = 4000
    x, y = network.sample(n, generator=torch.Generator().manual_seed(0))
    assert y.bincount().tolist() == pytest.approx(
        (n * network.class_logits.softmax(0)).tolist(), abs=4 * math.sqrt(n / 4)
    )
    images = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9)), dtype=torch.float64)
    expected = n * network.log_prob(images).exp()
    found = (x @ (2.0 ** torch.arange(8, -1, -1)).double()).long().bincount(minlength=512)
    often = expected > 5
    chi = ((found - expected)[often].square() / expected[often]).sum()
    assert chi < often.sum() + 4 * math.sqrt(2 * often.sum())


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"hidden": ()}, "at least one hidden width"),
        ({"head": "gaussian"}, "head must be 'bernoulli' or 'levels', got 'gaussian'"),
        ({"radius": 0}, "radius must be at least 1, got 0"),
        ({"image_shape": [3, 1, 3]}, "of one channel"),
        ({"positions": 0}, "positions must be at least 1"),
    ],
)
def test_bad_arguments(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        PixelUGMM(9, **settings)


def test_there_is_one_order():
    network = make()
    with pytest.raises(ValueError, match="one order only"):
        network.conditionals(pixels(1, 2), labels(1), order=torch.arange(9))
