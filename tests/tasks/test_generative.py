"""The generative task: its losses by hand, its metrics against the network's own."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.metrics import accuracy_score, log_loss

from ugmm.density import Ensemble, Estimate, TiltedGaussian
from ugmm.nn import AutoregressiveUGMM, JointScore, UGMMNetwork
from ugmm.objectives import (
    LabelLikelihood,
    Likelihood,
    NegativeScore,
    RankingNCE,
    ranking_nce,
)
from ugmm.tasks import GenerativeTask


def density(label="onehot"):
    size = {"onehot": 3, "real": 1, "none": 0}[label]
    score = JointScore(UGMMNetwork([4 + size, 5, 1], min_scale=0.1), 3, label)
    return TiltedGaussian(score, 4, len(score.codes))


def make(rows, label="onehot", members=1, **settings):
    torch.manual_seed(0)
    made = [density(label) for _ in range(members)]
    network = made[0] if members == 1 else Ensemble(made)
    settings = {"optimizer": {"lr": 0.05}, "z_draws": 2**12, **settings}
    task = GenerativeTask(network, 3, has_label=label != "none", **settings)
    task.prepare(*rows)
    return task


def test_ranking_nce_by_hand():
    generator = np.random.default_rng(0)
    scores, own, noise = (generator.normal(size=n) for n in (5, 5, 9))
    log_z = [logsumexp([u, *noise]) - np.log(10) for u in own]
    expected = np.mean(np.array(log_z) - scores)
    found = ranking_nce(*(torch.from_numpy(v) for v in (scores, own, noise)))
    assert found.item() == pytest.approx(expected)


def test_the_claim_of_ranking_nce_has_a_bound():
    # However high the score of a datum, its loss is at least -log(M + 1) + log b/q.
    for height in (0.0, 50.0, 5000.0):
        scores = torch.full((3,), height)
        loss = ranking_nce(scores, scores + 0.3, torch.zeros(7))
        assert loss.item() >= 0.3 - np.log(8) - 1e-3


@pytest.mark.parametrize("label", ["onehot", "real"])
@pytest.mark.parametrize("members", [1, 2])
def test_metrics_are_the_networks(rows, run, label, members):
    task = make(rows, label, members)
    metrics = run("test", task, rows)
    x, y = rows
    with torch.no_grad():
        scores = task.network.eval().class_scores(x)
    posterior = scores.softmax(-1).numpy()
    assert metrics["test/accuracy"] == pytest.approx(accuracy_score(y, posterior.argmax(1)))
    assert metrics["test/nll"] == pytest.approx(log_loss(y, posterior), rel=1e-5)
    log_prob = scores.gather(1, y[:, None]).mean().item()
    assert metrics["test/log_prob"] == pytest.approx(log_prob, rel=1e-5)
    values = [member.log_z.item() for member in task.tilted]
    assert metrics["test/log_z"] == pytest.approx(np.mean(values))
    assert abs(metrics["test/log_z"] - metrics["test/log_z_sobol"]) < 0.1
    assert task.test_record["confusion"].sum() == 30


def test_an_ensemble_of_exact_densities_sums_their_losses(rows):
    torch.manual_seed(0)
    members = [AutoregressiveUGMM(4, 3, [6]) for _ in range(3)]
    task = GenerativeTask(Ensemble(members), 3, Likelihood(), noise=0)
    losses = [-member(*rows).mean().item() for member in members]
    assert task.loss(*rows).item() == pytest.approx(sum(losses), rel=1e-5)
    each = torch.stack([member(*rows) for member in members]).detach()
    expected = logsumexp(each.numpy(), axis=0) - np.log(3)
    np.testing.assert_allclose(task.network(*rows).detach(), expected, rtol=1e-5)


@pytest.mark.parametrize("n_classes", [1, 3])
def test_features_of_levels_are_told_in_bits(rows, run, n_classes):
    torch.manual_seed(0)
    network = AutoregressiveUGMM(4, n_classes, [6], head="levels", levels=5)
    task = GenerativeTask(network, 3, Likelihood(), noise=0, has_label=n_classes > 1)
    x = torch.randint(5, (30, 4)) / 4
    for split, stage in (("test", "test"), ("val", "validate")):
        metrics = run(stage, task, (x, rows[1]))
        p = network.log_prob(x).double().exp().detach().numpy()
        expected = -np.log2(p).mean() / 4
        assert metrics[f"{split}/bits_per_dim"] == pytest.approx(expected, rel=1e-5)


def test_without_a_label_only_the_density_is_reported(rows, run):
    task = make(rows, "none")
    metrics = run("test", task, rows)
    with torch.no_grad():
        expected = task.network.log_prob(rows[0]).mean().item()
    assert metrics["test/log_prob"] == pytest.approx(expected, rel=1e-5)
    assert "test/accuracy" not in metrics
    assert list(task.test_record) == ["scores"]
    run("fit", task, rows, max_epochs=2)


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": RankingNCE()},
        {"objective": RankingNCE(label_weight=0.5)},
        {"objective": NegativeScore(), "noise": 0},
        {"objective": NegativeScore(10.0)},
        {"objective": LabelLikelihood(), "noise": 0.3},
    ],
)
def test_training_lowers_the_loss(rows, run, settings):
    task = make(rows, **settings)
    torch.manual_seed(1)
    before = np.mean([task.loss(*rows).item() for _ in range(20)])
    metrics = run("fit", task, rows, max_epochs=30)
    after = np.mean([task.loss(*rows).item() for _ in range(20)])
    assert after < before - 0.05
    assert ("val/score" in run("validate", task, rows)) == settings["objective"].is_score
    assert "train/loss" in metrics


def test_objectives_add_up(rows):
    """The score with the label's cross-entropy is the sum of both."""
    x, y = rows
    score, entropy, both = (
        make(rows, noise=0, **settings).loss(x, y).item()
        for settings in (
            {"objective": NegativeScore()},
            {"objective": LabelLikelihood()},
            {"objective": NegativeScore(3.0)},
        )
    )
    assert both == pytest.approx(score + 3 * entropy, rel=1e-5)


def test_noise_is_fresh_and_can_be_none(rows):
    noisy = make(rows, objective=NegativeScore(), noise=0.5)
    assert noisy.loss(*rows) != noisy.loss(*rows)
    still = make(rows, objective=NegativeScore(), noise=0)
    assert still.loss(*rows) == still.loss(*rows)


def test_estimates_that_disagree_are_said_loudly(rows, run, monkeypatch):
    wrong = Estimate(100.0, 0.01, 0.5)
    monkeypatch.setattr(TiltedGaussian, "second_estimate", lambda *_: wrong)
    with pytest.warns(RuntimeWarning, match="Z is not known"):
        run("test", make(rows), rows)


def test_validation_verifies_what_the_loss_claims(rows, run, monkeypatch):
    task = make(rows, objective=RankingNCE(2**12), noise=0)
    run("fit", task, rows, max_epochs=1)
    logged = {}
    monkeypatch.setattr(task, "log", lambda name, value, **_: logged.update({name: float(value)}))
    task.trainer.strategy  # noqa: B018  attached
    task.optimizer["lr"] = 0.0
    task.loss(*rows)
    task.on_validation_epoch_start()
    # With many draws and an unchanged network, the claim is the truth.
    assert logged["train/claimed"] == pytest.approx(logged["train/log_prob"], abs=0.05)
