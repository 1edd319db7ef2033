"""`ugmm complete`: images of which half is known, completed, as a picture."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from ugmm.baselines import BernoulliMixture
from ugmm.cli import main
from ugmm.config.compose import compose
from ugmm.data import InMemoryDataModule, Split
from ugmm.queries.completions import known_half
from ugmm.runs import Run
from ugmm.spec import Spec
from ugmm.trained import TrainedNetwork


class Strokes(InMemoryDataModule):
    """Four by four pixels: a horizontal or a vertical line."""

    n_features, n_classes, class_names, image_shape = 16, 1, ("all",), (4, 4)

    def __init__(self):
        super().__init__(batch_size=8, seed=0)

    def load(self):
        lines = torch.zeros(8, 4, 4)
        for k in range(4):
            lines[k, k], lines[4 + k, :, k] = 1, 1
        split = Split(lines.flatten(1), torch.zeros(8, dtype=torch.long))
        return {"train": split, "test": split}


@pytest.fixture
def network(monkeypatch):
    torch.manual_seed(0)
    model = BernoulliMixture(16, 1, components=8).eval()
    spec = Spec(16, ("all",), image_shape=(4, 4), pixel_range=(0.0, 1.0), binary=True)
    config = compose("mnist_bernoulli")
    monkeypatch.setattr(type(config.data), "build", lambda self, seed: Strokes())
    network = TrainedNetwork(model, spec, config)
    monkeypatch.setattr("ugmm.queries.completions.load_asked", lambda run: network)
    folder = Run(Path("runs/some"))
    monkeypatch.setattr("ugmm.queries.completions.locate", lambda run: (folder, None))
    return network


@pytest.mark.parametrize("half", ["upper", "random"])
def test_a_picture_is_drawn(network, half, tmp_path, capsys):
    out = tmp_path / "new" / "lines.png"
    assert main(["complete", "runs/some", "-n", "3", "--known", half, "--out", str(out)]) == 0
    assert f"picture: {out}" in capsys.readouterr().out
    with Image.open(out) as picture:
        assert min(picture.size) > 100


def test_halves():
    upper, left = (known_half(half, (4, 6), 2, 0) for half in ("upper", "left"))
    assert upper.reshape(2, 4, 6)[0].tolist() == [[True] * 6] * 2 + [[False] * 6] * 2
    assert left.reshape(2, 4, 6)[1].tolist() == [[True] * 3 + [False] * 3] * 4
    assert torch.equal(known_half("lower", (4, 6), 2, 0), ~upper)
    assert torch.equal(known_half("right", (4, 6), 2, 0), ~left)
    random = known_half("random", (4, 6), 5, 0)
    assert random.sum(1).tolist() == [12] * 5
    assert not torch.equal(random, known_half("random", (4, 6), 5, 1))
    assert known_half("random", (4, 6), 5, 2**70).shape == (5, 24)


def test_what_is_no_image_is_one_line(network, monkeypatch, capsys):
    table = TrainedNetwork(network.network, Spec(16, ("all",)), network.config)
    monkeypatch.setattr("ugmm.queries.completions.load_asked", lambda run: table)
    assert main(["complete", "runs/some"]) == 1
    assert "are no images" in capsys.readouterr().err
    assert main(["complete", "runs/some", "-n", "0"]) == 1
    assert "at least one image" in capsys.readouterr().err
