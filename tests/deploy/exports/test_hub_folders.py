"""A folder of safetensors: what hubs of models take, and ugmm reads back bit for bit."""

import hashlib
import json
import re
import shutil
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
import yaml
from safetensors.torch import load_file, save

from ugmm import load
from ugmm.columns import Column
from ugmm.config.compose import compose
from ugmm.deploy import to_safetensors
from ugmm.deploy.exports.card import write_card
from ugmm.errors import UserError
from ugmm.exported import Origin, describe, digest
from ugmm.report.escaping import for_markdown
from ugmm.spec import Spec
from ugmm.trained import TrainedNetwork


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
    rows = dict(re.findall(r"^\| (?!metric )([\w/]+).*? \| (\S+) \|$", body, re.MULTILINE))
    assert {name: float(value) for name, value in rows.items()} == summary


def card_of(spec=None, metrics=None, overrides=(), **changes):
    """Return the head and the body of the card of a network that need not be trained."""
    config = compose("iris_gen", overrides)
    for name, value in changes.items():
        setattr(config, name, value)
    spec = spec or Spec(4, ("a", "b", "c"))
    trained = TrainedNetwork(config.network(spec.n_features, spec.n_classes), spec, config)
    text = write_card(trained, describe(trained, Origin(metrics=metrics)), "mit")
    _, head, body = re.split("^---\n", text, maxsplit=2, flags=re.MULTILINE)
    return yaml.safe_load(head), body


HOSTILE = "a | <img src=x> [b](http://c) `d` *e*\n---\n# f: {g} & \u202e 'h' \"i\""


def test_names_are_no_markup():
    columns = tuple(Column(f"{i}{HOSTILE}", unit=HOSTILE) for i in range(4))
    spec = Spec(4, (f"*a*{HOSTILE}", "_b_", "<c>"), columns)
    metrics = {f"test/{HOSTILE}": 0.5}
    head, body = card_of(spec, metrics)
    (result,) = head["model-index"][0]["results"]
    assert result["metrics"] == [{"type": HOSTILE, "name": f"test/{HOSTILE}", "value": 0.5}]
    body = body.split("## Use")[0] + body.split("## Test")[1]
    for markup in (" | <", "<img", "](", " `d", " *e", "\n---", "\n# f", "<c>", " _b_"):
        assert not re.search(rf"(?<!\\){re.escape(markup)}", body), markup
    assert len(re.findall(r"(?<!\\)\|", body)) == 3 * 3  # the table's own
    body.encode()


def test_a_title_is_no_markup():
    head, body = card_of(experiment=HOSTILE)
    assert head["model-index"][0]["name"] == HOSTILE
    assert f"\n# {for_markdown(HOSTILE)}\n" in body


def test_what_is_not_known_is_left_out():
    """A table that was no file has no name."""
    overrides = ["data=csv", "data.path=t.csv", "data.label=y"]
    head, body = card_of(metrics={"test/nll": 1.0}, overrides=overrides)
    assert "- data: t.csv\n" in body
    assert head["model-index"][0]["results"][0]["dataset"]["name"] == "t.csv"
    data = compose("iris_gen", overrides).data
    head, body = card_of(metrics={"test/nll": 1.0}, data=replace(data, path=""))
    assert "data:" not in body
    assert head["model-index"][0]["results"] == []


def test_a_density_without_classes_classifies_nothing():
    head, body = card_of(metrics={"test/nll": 1.0}, overrides=["task.label=none"])
    assert "classes" not in body
    assert "network.log_prob(rows)" in body
    assert "pipeline_tag" not in head
    assert head["model-index"][0]["results"][0]["task"] == {"type": "other"}
    assert card_of()[0]["pipeline_tag"] == "tabular-classification"


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
        (lambda config: config.update(run=["a"]), "does not say what it is of"),
        (lambda config: config.update(metrics="none"), "does not say what it is of"),
        (lambda config: config["metrics"].update({"test/nll": "low"}), "its test/nll is no numb"),
        (lambda config: config["metrics"].update({"test/nll": 10**400}), "its test/nll is no nu"),
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


@pytest.mark.parametrize("out", [".", "/", "..", "../inside", ""])
def test_the_folder_one_is_in_is_left_alone(folder, tmp_path, monkeypatch, out):
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    with pytest.raises(UserError, match="is the folder you are in, or above it; name a new fold"):
        to_safetensors(load(folder), out)
    assert inside.is_dir()


def test_a_name_may_go_around(folder, tmp_path, monkeypatch):
    """Through a link, and up again: what is meant is written."""
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    to_safetensors(load(folder), "link", license="apache-2.0")
    assert "license: apache-2.0" in (folder / "README.md").read_text()
    to_safetensors(load(folder), "link/../model/../new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "model", "new"]


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
