"""Class scores where one feature has other values: as whole rows would have them."""

import pytest
import torch

from ugmm.baselines import MLP
from ugmm.density import Ensemble, TiltedGaussian
from ugmm.nn import JointScore, UGMMNetwork

WIDE, NARROW = [40, 8, 4, 3], [6, 20, 8, 3]


def replaced(x, values, coordinates):
    rows = x[..., None, None, :].repeat(
        *[1] * (x.dim() - 1), len(coordinates), values.shape[-1], 1
    )
    for c, i in enumerate(coordinates):
        rows[..., c, :, i] = values[..., c, :]
    return rows


def network(sizes=WIDE, **options):
    torch.manual_seed(0)
    return UGMMNetwork(sizes, norm="layer", **options).eval()


def tilted(label="onehot", seed=0):
    torch.manual_seed(seed)
    n_classes = 3 if label == "onehot" else 1
    n_codes = 3 if label == "onehot" else 0
    score = JointScore(UGMMNetwork([30 + n_codes, 6, 4, 1]), n_classes, label)
    density = TiltedGaussian(score, 30, n_classes)
    x, y = torch.randn(90, 30) @ torch.randn(30, 30), torch.arange(90) % n_classes
    density.fit_base(x, y)
    density.log_z.fill_(1.5)
    return density.eval()


MODELS = {
    "wide": network,
    "narrow": lambda: network(NARROW),
    "mlp": lambda: MLP([6, 5, 3]),
    "joint": lambda: JointScore(network([33, 6, 4, 1]), 3),
    "joint, one real label": lambda: JointScore(network([31, 6, 4, 1]), 3, "real"),
    "joint, many labels": lambda: JointScore(network([70, 6, 4, 1]), 40),
    "tilted": tilted,
    "tilted, no label": lambda: tilted("none"),
    "ensemble": lambda: Ensemble([tilted(), tilted(seed=1)]),
}
WIDTHS = {"wide": 40, "narrow": 6, "mlp": 6}


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_scores_are_those_of_whole_rows(name):
    model, width = MODELS[name](), WIDTHS.get(name, 30)
    x, coordinates = torch.randn(2, 3, width), torch.tensor([4, 0, 5])
    for values in (torch.randn(7), torch.randn(3, 7), torch.randn(2, 3, 3, 7)):
        scores = model.coordinate_scores(x, values, coordinates)
        expected = model.class_scores(replaced(x, values.expand(2, 3, 3, 7), coordinates))
        torch.testing.assert_close(scores, expected, atol=3e-5, rtol=2e-6)
    every = model.coordinate_scores(x[0, 0], torch.randn(2))
    assert every.shape == (width, 2, expected.shape[-1])
    for values in (torch.randn(2), torch.randn(0, 3, width, 2), torch.randn(5000)):
        assert model.coordinate_scores(x[:0], values).shape == (
            0,
            3,
            width,
            values.shape[-1],
            every.shape[-1],
        )


@torch.no_grad()
@pytest.mark.parametrize("name", ["wide", "joint", "tilted"])
def test_features_that_are_missing_stay_so(name):
    model, width = MODELS[name](), WIDTHS.get(name, 30)
    model.expect_missing()
    x, coordinates, values = torch.randn(2, width), torch.tensor([4, 0]), torch.randn(5)
    x[0, 7], x[1, 4] = torch.nan, torch.nan
    scores = model.coordinate_scores(x, values, coordinates)
    expected = model.class_scores(replaced(x, values.expand(2, 2, 5), coordinates).flatten(0, 2))
    assert scores.isfinite().all()
    torch.testing.assert_close(scores.flatten(0, 2), expected, atol=3e-5, rtol=2e-6)


def test_one_place_decides_what_pays(monkeypatch):
    model, passes = network(), []
    forward = UGMMNetwork.forward
    monkeypatch.setattr(UGMMNetwork, "forward", lambda *args: passes.append(0) or forward(*args))

    def count(n_values):
        passes.clear()
        model.coordinate_scores(torch.randn(1, 40), torch.randn(n_values), torch.tensor([3]))
        return len(passes)

    assert model.coordinates_pay(160)
    assert count(160) == 0
    assert not model.coordinates_pay(1)  # one candidate is one row
    assert count(1) == 1
    assert network(NARROW).coordinate_gain(10**9) == pytest.approx((6 * 20 + 184) / (20 + 184))
    assert not network([33, 6, 40, 1]).coordinates_pay(99, n_codes=40)


@torch.no_grad()
def test_rows_are_taken_few_at_once(monkeypatch):
    model, x = network(), torch.randn(5, 40)
    for values in (torch.randn(3), torch.randn(5, 40, 3)):
        expected = model.coordinate_scores(x, values)
        with monkeypatch.context() as patch:
            patch.setattr("ugmm.nn.network._SUMS", 2 * 40 * 8)
            scores = model.coordinate_scores(x, values)
        torch.testing.assert_close(scores, expected, atol=1e-6, rtol=1e-6)


def test_dropout_takes_whole_rows():
    model = network([40, 8, 3], dropout=0.5).train()
    torch.manual_seed(1)
    scores = model.coordinate_scores(torch.randn(1, 40), torch.zeros(1))
    assert not torch.equal(
        scores, model.eval().coordinate_scores(torch.randn(1, 40), torch.zeros(1))
    )


def test_scores_can_be_differentiated():
    model, x = network(), torch.randn(2, 40, requires_grad=True)
    values = torch.randn(4, requires_grad=True)
    scores = model.coordinate_scores(x, values, torch.tensor([3]))
    by_x, by_values = torch.autograd.grad(scores.sum(), (x, values))
    assert (by_x[:, 3] == 0).all()
    rows = replaced(x.detach(), values.expand(1, 4), [3]).requires_grad_()
    (expected,) = torch.autograd.grad(model(rows).sum(), rows)
    torch.testing.assert_close(by_values, expected[..., 3].sum((0, 1)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("values", "coordinates", "error", "message"),
    [
        (
            torch.zeros(3, 2),
            torch.tensor([0]),
            ValueError,
            r"values must be one of \(G\), \(1, G\)",
        ),
        (torch.zeros(2).double(), None, TypeError, "x's dtype"),
        (torch.zeros(2), torch.tensor([40]), ValueError, "from 0 to 39"),
        (torch.zeros(2), torch.tensor([0.0]), TypeError, "int64"),
        ([0.0], None, TypeError, "torch.as_tensor"),
    ],
)
def test_errors(values, coordinates, error, message):
    for model in (network(), JointScore(network([41, 6, 1]), 3, "real"), MLP([40, 3])):
        with pytest.raises(error, match=message):
            model.coordinate_scores(torch.zeros(1, 40), values, coordinates)
