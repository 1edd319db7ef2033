"""Circuits as experiments: trained either way, tested again, loaded; and without spflow."""

import importlib.util

import pytest
import torch

from ugmm.cli import main
from ugmm.config.choices import declare
from ugmm.config.compose import compose
from ugmm.loading import load_network
from ugmm.nn import Evidence, UGMMCircuit


@pytest.mark.skipif(
    importlib.util.find_spec("spflow") is None, reason="spflow is not installed: not tested"
)
@pytest.mark.parametrize("settings", [(), ("task=likelihood", "trainer.monitor=val/nll")])
@pytest.mark.parametrize("kind", ["rat", "einet"])
def test_a_circuit_trains_and_is_read_back(train_and_draw, kind, settings, capfd):
    run = train_and_draw(
        "iris_disc", f"model=spflow_{kind}", "model.depth=1", "model.channels=3", *settings
    )
    summary = run.read_summary()
    assert main(["eval", str(run.folder)]) == 0
    assert f"{summary['test/accuracy']:.2%}" in capfd.readouterr().out
    network = load_network(run.folder)
    x = torch.randn(5, 4)
    torch.testing.assert_close(network.posterior(x).sum(-1), torch.ones(5))
    assert ("test/log_prob" in summary) == bool(settings)


def test_a_circuit_of_mixture_neurons_trains_and_is_read_back(train_and_draw, capfd):
    settings = ("model.structure_seed=7", "model.leaf_hidden=[3]", "model.channels=3")
    run = train_and_draw("iris_circuit", *settings)
    assert main(["eval", str(run.folder)]) == 0
    summary = run.read_summary()
    assert f"{summary['test/log_prob']:.4g}" in capfd.readouterr().out
    network = load_network(run.folder)
    assert torch.equal(network.order, UGMMCircuit(4, 3, structure_seed=7).order)
    assert network.marginal(Evidence.nothing(4)).log_prob.abs() < 1e-6
    assert "samples" in {path.stem for path in run.plots.iterdir()}


def test_without_spflow_the_remedy_is_named(monkeypatch, train):
    monkeypatch.setattr(declare, "find_spec", lambda name: None)
    assert "needs spflow; install it with: pip install" in train("iris_disc", "model=spflow_rat")


def test_sizes_are_as_their_files_say():
    ours = compose("mnist_disc")
    size = parameters(ours)
    for name in ("mnist_mlp_params", "mnist_spflow_rat", "mnist_spflow_einet"):
        if "spflow" in name and importlib.util.find_spec("spflow") is None:
            continue
        assert parameters(compose(name)) == pytest.approx(size, rel=0.04), name
    assert parameters(compose("mnist_mlp_params")) == pytest.approx(size, rel=0.01)


def parameters(config):
    network = config.task.network(config.model, 784, 10)
    return sum(parameter.numel() for parameter in network.parameters())
