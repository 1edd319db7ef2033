"""How sure networks are: temperatures, the measures of benchmarks/uncertainty, spoiled images."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch.nn import functional as F

from ugmm.calibration import fit_temperature
from ugmm.data.images import CORRUPTIONS, corrupted
from ugmm.nn import UGMMNetwork

FOLDER = Path(__file__).parents[1] / "benchmarks" / "uncertainty"


def load(name, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    module = __import__(name)
    monkeypatch.delitem(sys.modules, name)
    return module


@pytest.fixture
def judging(monkeypatch):
    return load("judging", monkeypatch)


def test_kept_answers_are_of_the_same_weights_and_code(tmp_path, monkeypatch):
    answers = load("answers", monkeypatch)
    run, x = tmp_path / "study" / "one", torch.rand(6, 4)
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("seed: 0")
    split = SimpleNamespace(x=x, y=torch.zeros(6))
    data = SimpleNamespace(splits={"val": split, "test": split}, image_shape=(2, 2))
    asked = []

    def load_network(folder):
        asked.append(folder)
        return UGMMNetwork([4, len(asked) + 1])

    monkeypatch.setattr(answers, "load_network", load_network)
    monkeypatch.setattr(answers, "sets", lambda x, _: iter([("test", lambda: x)]))
    for weights, classes in (("one", 2), ("one", 2), ("two", 3)):
        (run / "checkpoints" / "last.ckpt").write_text(weights)
        assert answers.measure(run, data).scores["test"].shape == (6, classes)
    assert len(asked) == 2
    monkeypatch.setattr(answers, "__file__", __file__)  # other code of the same names
    answers._hash_code.cache_clear()  # as another process has it
    assert answers.measure(run, data).scores["test"].shape == (6, 4)


def test_the_temperature_is_the_best_of_a_fine_grid():
    rng = np.random.default_rng(0)
    scores = 3 * rng.standard_normal((400, 5))
    labels = np.array([rng.choice(5, p=np.exp(row)) for row in log_softmax(scores / 2.5, -1)])
    grid = np.exp(np.linspace(-2, 3, 2001))
    tensor, y = torch.from_numpy(scores), torch.from_numpy(labels)
    losses = [float(F.cross_entropy(tensor / t, y)) for t in grid]
    best = grid[int(np.argmin(losses))]
    assert fit_temperature(scores, labels) == pytest.approx(best, rel=0.004)
    assert best == pytest.approx(2.5, rel=0.15)  # that the labels were drawn with


def test_a_temperature_knows_scores_up_to_a_constant_a_row():
    rng = np.random.default_rng(1)
    scores, labels = rng.standard_normal((50, 3)), rng.integers(3, size=50)
    shifted = scores + rng.standard_normal((50, 1)) * 1e6
    assert fit_temperature(shifted, labels) == pytest.approx(fit_temperature(scores, labels))
    impossible = scores.copy()
    impossible[np.arange(50), (labels + 1) % 3] = -np.inf
    assert 0 < fit_temperature(impossible, labels) < 100


@pytest.mark.parametrize("scores", [np.empty((0, 3)), np.array([[0.0, np.nan]])])
def test_a_temperature_needs_scores(scores):
    with pytest.raises(ValueError, match="fitted to rows of scores"):
        fit_temperature(scores, np.zeros(len(scores), int))


def test_posteriors_are_judged_as_torch_does(judging):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(300, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(4, (300,), generator=generator)
    found = judging.judge(scores.log_softmax(-1).numpy(), y.numpy())
    assert found["nll"] == pytest.approx(float(F.cross_entropy(scores, y)))
    assert found["accuracy"] == pytest.approx(float((scores.argmax(-1) == y).double().mean()))
    pooled = judging.pool(torch.stack([scores, -scores]).numpy())
    mean = (scores.softmax(-1) + (-scores).softmax(-1)) / 2
    np.testing.assert_allclose(pooled, mean.log().numpy(), rtol=1e-12)


def test_risk_is_that_of_the_surest_rows(judging):
    posterior = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]])
    labels = np.array([0, 0, 0, 0])  # the second and the fourth are mistakes
    expected = [0, 1 / 2, 1 / 3, 2 / 4]
    np.testing.assert_allclose(judging.risks(np.log(posterior), labels), expected)
    assert judging.area_under_risk(np.log(posterior), labels) == pytest.approx(np.mean(expected))


def test_areas_and_false_positives_are_those_of_all_pairs(judging):
    rng = np.random.default_rng(2)
    known, foreign = rng.integers(0, 9, 60) + 2.0, rng.integers(0, 9, 40) + 0.0
    pairs = known[:, None] - foreign
    assert judging.auroc(known, foreign) == pytest.approx(
        ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    )
    threshold = max(t for t in known if (known >= t).mean() >= 0.95)
    assert judging.false_positives(known, foreign) == pytest.approx((foreign >= threshold).mean())


def test_sureness_is_what_it_says(judging):
    scores = np.random.default_rng(3).standard_normal((20, 5))
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    found = {name: of(scores) for name, of in judging.SURENESS.items()}
    np.testing.assert_allclose(found["posterior"], np.log(p.max(1)))
    np.testing.assert_allclose(found["entropy"], (p * np.log(p)).sum(1))
    np.testing.assert_allclose(found["log-sum"], np.log(np.exp(scores).sum(1)))


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_spoiled_images_are_images_and_repeat(kind):
    x = torch.rand(40, 28 * 20, generator=torch.Generator().manual_seed(4))
    found = corrupted(x, (28, 20), kind, seed=1)
    assert found.shape == x.shape
    assert ((found >= 0) & (found <= 1)).all()
    assert not torch.equal(found, x)
    assert torch.equal(found, corrupted(x, (28, 20), kind, seed=1))


def test_a_hidden_square_is_whole_and_anywhere():
    x = torch.ones(4000, 12 * 14)
    hidden = (corrupted(x, (12, 14), "hidden", seed=0) == 0).reshape(-1, 12, 14)
    assert (hidden.sum((1, 2)) == 100).all()
    rows, columns = hidden.any(2), hidden.any(1)
    assert (rows.sum(1) == 10).all()
    assert (columns.sum(1) == 10).all()
    firsts = {(int(r), int(c)) for r, c in zip(rows.int().argmax(1), columns.int().argmax(1))}  # noqa: B905
    assert firsts == {(r, c) for r in range(3) for c in range(5)}


def test_a_blurred_dot_is_a_gaussian():
    x = torch.zeros(1, 21 * 21)
    x[0, 10 * 21 + 10] = 1
    found = corrupted(x, (21, 21), "blurred", seed=0).reshape(21, 21).double()
    at = torch.arange(-4, 5, dtype=torch.float64)
    one = torch.exp(-at.square() / (2 * 1.5**2))
    expected = torch.outer(one / one.sum(), one / one.sum())
    torch.testing.assert_close(found[6:15, 6:15], expected, rtol=1e-5, atol=1e-7)


def test_an_unknown_way_to_spoil_is_refused():
    with pytest.raises(ValueError, match="kind must be one of noisy, blurred, faint, hidden"):
        corrupted(torch.zeros(1, 784), (28, 28), "torn", seed=0)
