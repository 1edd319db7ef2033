"""Transformers as experiments: trained, tested again, loaded; and their sizes."""

import pytest
import torch

from ugmm.cli import main
from ugmm.config.compose import compose
from ugmm.errors import UserError
from ugmm.loading import load_network
from ugmm.studies.ablation.file import read_ablation

SMALL = ("model=vit", "model.image_shape=[2,2]", "model.patch=1", "model.d_model=8")


@pytest.mark.parametrize(
    "settings", [(), ("model.score=gaussian", "model.qkv=ugmm", "model.head=gain")]
)
def test_a_transformer_trains_and_is_read_back(train_and_draw, settings, capfd):
    run = train_and_draw("iris_disc", *SMALL, *settings, "trainer.gradient_clip_val=1")
    summary = run.read_summary()
    assert main(["eval", str(run.folder)]) == 0
    assert f"{summary['test/accuracy']:.2%}" in capfd.readouterr().out
    network = load_network(run.folder)
    x = torch.randn(5, 4)
    torch.testing.assert_close(network.posterior(x).sum(-1), torch.ones(5))
    assert "attention" in {path.stem for path in run.plots.iterdir()}


def test_sizes_are_as_their_files_say():
    size = parameters(compose("mnist_vit"))
    assert parameters(compose("mnist_vit_standard")) == pytest.approx(size, rel=0.005)
    for ablation in (read_ablation("mnist_vit_rates"), read_ablation("mnist_vit")):
        for name, settings in ablation.variants.items():
            point = ablation.compose_point(name, settings, {"seed": 0})
            assert parameters(point.resolve()) == pytest.approx(size, rel=0.005), name


def parameters(config):
    network = config.task.network(config.model, 784, 10)
    return sum(parameter.numel() for parameter in network.parameters())


def test_features_are_parted_among_heads():
    with pytest.raises(UserError, match=r"model\.d_model=32 must be a multiple of model\.nhead=3"):
        compose("mnist_vit", ["model.nhead=3"])
