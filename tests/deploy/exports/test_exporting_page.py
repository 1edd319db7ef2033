"""What docs/exporting.md shows is so."""

import re
import shlex

import numpy as np
import pytest

from fences import fences
from ugmm import load
from ugmm.cli import main


@pytest.mark.slow
def test_exports_as_they_are_shown(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (console,) = fences("docs/exporting.md", "console")
    train, *exports = re.findall(r"^\$ ugmm (.*)$", console.text, re.MULTILINE)
    assert main([*shlex.split(train), "trainer.accelerator=cpu", "tracking.mode=disabled"]) == 0
    (run,) = tmp_path.glob("runs/*/*")
    for command in exports:
        capfd.readouterr()
        assert main(shlex.split(command)) == 0
        said = capfd.readouterr().out
        if "onnx" in command:
            shape = re.search(r"exporting .*\nwrote .*", console.text)[0]
            for changing in (r"runs/\S+", r"\([\d.]+ MB, \d+ s\)", r"by \S+ at"):
                shape, said = (re.sub(changing, "X", text) for text in (shape, said))
            assert said.strip() == shape
    names = {}
    for block in fences("docs/exporting.md", "python"):
        exec(block.text, names)
    network, rows = load(run), names["rows"]
    expected, labels = network.posterior(rows).numpy(), network.predict(rows).tolist()
    for found in (names["answers"]["probabilities"], names["found"]["probabilities"]):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(names["posterior"], expected)
    assert names["answers"]["label"].tolist() == names["labels"] == labels
    for found in (names["answers"], names["found"]):
        np.testing.assert_allclose(found["log_density"], network.log_prob(rows), rtol=1e-5)
    assert names["classes"] == list(network.class_names)
    assert (tmp_path / "bare.onnx").is_file()
