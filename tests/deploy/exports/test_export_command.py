"""`ugmm export`: what it says, where it writes, and what it refuses."""

import json
import shutil
import sys

import onnx
import pytest
import torch

from ugmm import load
from ugmm.cli import main
from ugmm.config.compose import compose
from ugmm.deploy import to_onnx
from ugmm.errors import UserError
from ugmm.spec import Spec
from ugmm.trained import TrainedNetwork


@pytest.fixture
def export(tmp_path, capsys):
    """Run the command; returns what it printed."""

    def export(*arguments, fails=False):
        assert main(["export", *map(str, arguments)]) == int(fails)
        printed = capsys.readouterr()
        return printed.err if fails else printed.out

    return export


def test_it_says_what_it_wrote(trained, export):
    run = trained("iris_disc")
    said = export(run.folder, "--to", "safetensors")
    folder = run.folder / "export" / "safetensors"
    assert said.splitlines() == [
        f"exporting {run.folder} to {folder}",
        f"wrote and read back {folder}: the weights are the same, bit for bit",
    ]
    weights = load(run.folder).network.state_dict()
    again = load(folder).network.state_dict()
    assert all(torch.equal(again[name], weight) for name, weight in weights.items())


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_it_says_how_near_the_answers_are(trained, export, kind, monkeypatch, exported):
    run, path = exported(kind, "iris_disc") if kind == "onnx" else (trained("iris_disc"), None)
    monkeypatch.setattr(f"ugmm.deploy.exports.export.to_{kind}", lambda *_: 3e-7)
    out = run.folder / "export" / f"model.{kind}"
    out.parent.mkdir(exist_ok=True)
    shutil.copy(path or __file__, out)
    said = export(run.folder, "--to", kind).splitlines()
    assert said[0] == f"exporting {run.folder} to {out}"
    assert said[1].startswith(f"wrote {out} (")
    assert said[1].endswith("rows its answers differ by 3e-07 at most (allowed: 1e-05)")


def test_an_export_can_be_exported(exported, export, tmp_path):
    run, folder = exported("safetensors", "iris_disc")
    export(folder, "--to", "safetensors", "--out", tmp_path / "again", "--license", "cc-by-4.0")
    rows = [[5.0, 3.0, 1.4, 0.2]]
    assert torch.equal(load(tmp_path / "again").posterior(rows), load(folder).posterior(rows))
    assert "license: cc-by-4.0" in (tmp_path / "again" / "README.md").read_text()
    described = json.loads((tmp_path / "again" / "config.json").read_text())
    assert described == json.loads((folder / "config.json").read_text())
    assert described["run"] == run.id
    assert described["metrics"] == run.read_summary()


def test_mistakes_are_one_line(exported, export, tmp_path, monkeypatch):
    run, _ = exported("safetensors", "iris_disc")
    said = export(run.folder, "--to", "onnx", "--license", "mit", fails=True)
    assert said == (
        "ugmm: error: --license is for the model card of --to safetensors; leave it out\n"
    )
    assert "no such run folder" in export(tmp_path / "no", "--to", "onnx", fails=True)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    said = export(run.folder, "--to", "onnx", "--out", tmp_path / "m.onnx", fails=True)
    assert said == "ugmm: error: the package onnxscript is missing; install ugmm[export]\n"
    assert not list(tmp_path.iterdir())


def of_iris(experiment):
    config = compose(experiment)
    network = config.network(4, 3)
    torch.manual_seed(0)
    network.init_from(torch.randn(60, 4), torch.arange(60) % 3)
    return TrainedNetwork(network.eval(), Spec(4, ("a", "b", "c")), config)


def test_what_no_graph_does_is_refused(tmp_path):
    trained = of_iris("iris_gen")
    trained.network.expect_missing()
    with pytest.raises(UserError, match="draws what a row lacks, which no graph does"):
        to_onnx(trained, tmp_path / "model.onnx")


def test_what_onnx_has_not_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot be an ONNX graph \(No ONNX function"):
        to_onnx(of_iris("iris_qda"), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_network_of_images(tmp_path):
    """An untrained one, whose formulas are those of a trained one; `to_onnx` compares.

    `benchmarks/exports.py` tries all networks.
    """
    config = compose("mnist_conv")
    torch.manual_seed(0)
    spec = Spec(784, tuple("0123456789"), image_shape=(28, 28), pixel_range=(0.0, 1.0))
    network = config.network(784, 10).eval()
    assert to_onnx(TrainedNetwork(network, spec, config), tmp_path / "model.onnx") < 1e-5
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"))
