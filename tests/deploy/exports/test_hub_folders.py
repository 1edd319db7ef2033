"""A folder of safetensors: what hubs of models take, and ugmm reads back bit for bit."""

import hashlib
import json
import re
import shutil
from contextlib import suppress

import pytest
import torch
import yaml
from safetensors.torch import load_file, save

from ugmm import load
from ugmm.deploy import to_safetensors
from ugmm.errors import UserError
from ugmm.exported import digest


@pytest.fixture(scope="module", params=["iris_disc", "iris_gen", "diabetes_reg"])
def pair(request, exported):
    return exported("safetensors", request.param)


def test_the_same_network_comes_back(pair):
    run, folder = pair
    network, again = load(run.folder), load(folder)
    assert type(again) is type(network)
    assert again.spec == network.spec
    weights, found = network.network.state_dict(), again.network.state_dict()
    assert weights.keys() == found.keys()
    for name, weight in weights.items():
        assert found[name].dtype == weight.dtype
        assert found[name].numpy().tobytes() == weight.numpy().tobytes()
    rows = network.spec.decode(network.kept[:9])
    assert (again.predict(rows) == network.predict(rows)).all()
    assert not hasattr(network, "log_prob") or (
        not network.network.normalized or torch.equal(again.log_prob(rows), network.log_prob(rows))
    )


def test_files_are_what_hubs_take(pair):
    run, folder = pair
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
    }
    config = json.loads((folder / "config.json").read_text())
    assert config["library_name"] == "ugmm"
    assert config["run"] == run.id
    assert set(load_file(folder / "model.safetensors")) == set(
        load(run.folder).network.state_dict()
    )


def test_the_card_has_the_figures_of_the_run(pair):
    run, folder = pair
    text = (folder / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    head, summary = yaml.safe_load(head), run.read_summary()
    assert head["library_name"] == "ugmm"
    assert head["license"] == "mit"
    (model,) = head["model-index"]
    (result,) = model["results"]
    told = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert told == {name: value for name, value in summary.items() if name.startswith("test/")}
    rows = dict(re.findall(r"^\| `(\S+)`.*? \| (\S+) \|$", body, re.MULTILINE))
    assert {name: float(value) for name, value in rows.items()} == summary


def test_nothing_of_the_machine_is_told(exported, table):
    run, folder = exported("safetensors", "iris_disc", *table)
    for name in ("README.md", "config.json"):
        text = (folder / name).read_text()
        assert str(run.folder.parent) not in text
        assert str(table[-1].removeprefix("data.path=")) not in text
        assert "things.csv" in text
    assert load(folder).predict([[1.0, 2.0, "red"]]).shape == (1,)


@pytest.fixture
def folder(exported, tmp_path):
    _, folder = exported("safetensors", "iris_disc")
    return shutil.copytree(folder, tmp_path / "model")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_damage_is_found(folder, name):
    path, rows = folder / name, [[5.0, 3.0, 1.4, 0.2]]
    data, expected = path.read_bytes(), load(folder).posterior(rows)
    for place in range(0, len(data), len(data) // 60):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with suppress(UserError):
            assert torch.equal(load(folder).posterior(rows), expected)  # it was padding
    for size in (0, 7, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match=r"damaged|sums differ|was changed after the export"):
            load(folder)
    path.unlink()
    with pytest.raises(UserError, match=f"it has no {name}"):
        load(folder)


def header_of(entries, numbers=b"", length=None):
    header = json.dumps(entries).encode()
    return (length or len(header)).to_bytes(8, "little") + header + numbers


@pytest.mark.parametrize(
    "data",
    [
        header_of({}, length=2**60),
        header_of({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**40]}}),
        header_of(
            {
                name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
                for name in ("layers.0.loc", "layers.0.logits")
            },
            bytes(8),
        ),
        b"\x80\x04\x95" + bytes(60),
        header_of({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}}),
    ],
    ids=["huge header", "beyond the end", "overlapping", "a pickle", "overflow"],
)
def test_strange_headers_are_refused(folder, data):
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        load(folder)


def forge(folder, change):
    """Change the description, and make the sums anew."""
    config = json.loads((folder / "config.json").read_text())
    change(config)
    weights = load_file(folder / "model.safetensors")
    config["weights_sha256"] = digest(save(weights))
    data = json.dumps(config).encode()
    (folder / "config.json").write_bytes(data)
    notes = {"format": "pt", "ugmm": hashlib.sha256(data).hexdigest()}
    (folder / "model.safetensors").write_bytes(save(weights, notes))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config: config.update(format=9), "has format 9, this version of ugmm reads up to"),
        (lambda config: config["config"]["model"].update(name="os.system"), "os.system"),
        (lambda config: config["config"].update(_target_="os.system"), "_target_"),
        (lambda config: config.update(library_name="other"), "is a model of other; name another"),
        (lambda config: config["config"]["model"].update(hidden=[3]), "does not fit its network"),
    ],
)
def test_a_forged_description_is_refused(folder, change, said):
    forge(folder, lambda config: None)
    load(folder)
    forge(folder, change)
    with pytest.raises(UserError, match=said):
        load(folder)


def test_what_is_not_an_export_is_left_alone(exported, folder, tmp_path):
    run, _ = exported("safetensors", "iris_disc")
    network = load(run.folder)
    to_safetensors(network, folder, license="apache-2.0")  # in the place of an earlier one
    assert "license: apache-2.0" in (folder / "README.md").read_text()
    (folder / "mine.txt").touch()
    with pytest.raises(UserError, match=r"holds a mine\.txt that ugmm did not export; name a new"):
        to_safetensors(network, folder)
    for name, text in (("README.md", "# Mine"), ("config.json", '{"library_name": "other"}')):
        other = tmp_path / f"other {name}"
        other.mkdir()
        (other / name).write_text(text)
        with pytest.raises(UserError, match=f"holds a {name} that ugmm did not export"):
            to_safetensors(network, other)
        assert (other / name).read_text() == text
        shutil.rmtree(other)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UserError, match="file is a file; name a new folder"):
        to_safetensors(network, file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "model"]


def test_a_failed_export_leaves_the_old_one(exported, folder, tmp_path, monkeypatch):
    run, _ = exported("safetensors", "iris_disc")
    network, before = load(run.folder), (folder / "config.json").read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ugmm.deploy.exports.hub_folder._check", fail)
    with pytest.raises(UserError, match="the disk is full"):
        to_safetensors(network, folder)
    assert (folder / "config.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
