"""A pt2 archive: for torch.export.load, which needs no ugmm; and read back without running it."""

import hashlib
import io
import json
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from ugmm import load
from ugmm.checkpoints import seal
from ugmm.deploy import to_onnx, to_pt2
from ugmm.errors import UserError
from ugmm.loading import load_network

ALONE = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ugmm", "numba"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Without())
import json, torch
notes = {"ugmm.json": ""}
program = torch.export.load(sys.argv[1], extra_files=notes).module()
notes = json.loads(notes["ugmm.json"])
rows = json.loads(sys.argv[2])
columns = []
for entry in notes["inputs"]:
    values = [row[entry["name"]] for row in rows]
    places = entry["categories"]
    columns.append(
        torch.tensor(values, dtype=torch.float64)
        if places is None else torch.tensor([places.get(text, -2) for text in values])
    )
found = dict(zip(notes["outputs"], program(*columns)))
print(json.dumps([found["probabilities"].tolist(), [notes["classes"][i] for i in found["label"]]]))
"""


def test_it_runs_without_ugmm(exported, table):
    run, path = exported("pt2", "iris_disc", *table)
    network = load(run.folder)
    rows = [
        {"width": 1.0, "age": 20.0, "colour": "light blue"},
        {"width": 3.5, "age": 41.0, "colour": ""},
    ]
    command = [sys.executable, "-c", ALONE, str(path), json.dumps(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    probabilities, labels = json.loads(done.stdout.splitlines()[-1])
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    np.testing.assert_allclose(probabilities, network.posterior(columns), atol=1e-5)
    assert labels == network.predict(columns).tolist()


@pytest.fixture(scope="module")
def archive(exported, table):
    return exported("pt2", "iris_disc", *table)[1]


def test_ugmm_reads_the_same_network_back(exported, table, archive):
    run, _ = exported("pt2", "iris_disc", *table)
    network, again = load(run.folder), load(archive)
    assert again.spec == network.spec
    weights, found = network.network.state_dict(), again.network.state_dict()
    assert weights.keys() == found.keys()
    assert all(torch.equal(found[name], weight) for name, weight in weights.items())
    rows = [[1.0, None, "red"], [None, 30.0, "?"]]
    assert torch.equal(again.posterior(rows), network.posterior(rows))
    assert load_network(archive).state_dict().keys() == weights.keys()


def test_any_bit_that_flips_is_found(archive, tmp_path):
    data, path = archive.read_bytes(), tmp_path / "model.pt2"
    for place in range(0, len(data), len(data) // 60):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(UserError, match="is damaged"):
            load(path)
    for size in (0, 10, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match="is damaged"):
            load(path)
    path.unlink()
    with pytest.raises(UserError, match="there is no archive at"):
        load(path)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def rewritten(archive, change, compression=zipfile.ZIP_STORED):
    """Return an archive with members changed, and its sum made anew."""
    content = io.BytesIO()
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(content, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name.partition("/")[2], old.read(name)))
    return seal(content.getvalue())


def test_nothing_in_it_is_run(archive, tmp_path):
    """Not where torch.export.load would: in weights, constants and examples that are pickles."""
    mark, path = tmp_path / "mark", tmp_path / "model.pt2"
    bomb = pickle.dumps(Bomb(mark))
    pickle.loads(bomb).close()
    assert mark.exists()  # it works
    mark.unlink()

    def plant(name, data):
        if name == "data/weights/model_weights_config.json":
            return data.replace(b'"use_pickle": false', b'"use_pickle": true')
        return bomb if name.startswith("data/weights/") else data

    path.write_bytes(rewritten(archive, plant))
    with pytest.raises(UserError, match="holds more than numbers"):
        load(path)
    others = ("data/sample_inputs/", "data/constants/", "models/", "data/aotinductor/")
    path.write_bytes(
        rewritten(archive, lambda name, data: bomb if name.startswith(others) else data)
    )
    load(path).predict([[1.0, 2.0, "red"]])
    assert not mark.exists()


def described(change):
    def edit(name, data):
        if name != "extra/ugmm.json":
            return data
        content = json.loads(data)
        change(content)
        return json.dumps(content)

    return edit


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.update(format=2), "has format 2, this version of ugmm reads up"),
        (lambda content: content.pop("format"), "was not exported by ugmm"),
        (lambda content: content.pop("config"), "it has no configuration"),
        (lambda content: content["config"].pop("model"), "incomplete: it lacks model"),
        (lambda content: content["config"]["model"].update(name="os.system"), "os.system"),
        (lambda content: content["config"]["model"].update(hidden=[3]), "does not fit its net"),
        (lambda content: content["spec"].update(columns=3), "about the rows is damaged"),
        (
            lambda content: content["spec"].update(n_features=2**60, columns=[], mean=[], std=[]),
            "is damaged",
        ),
    ],
)
def test_a_description_of_something_else_is_refused(archive, tmp_path, change, said):
    path = tmp_path / "model.pt2"
    path.write_bytes(rewritten(archive, described(change)))
    with pytest.raises(UserError, match=said):
        load(path)


def refused(path, content, said):
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2]", "null", '"ugmm"', "3"])
def test_a_description_that_is_no_mapping_is_refused(archive, tmp_path, text):
    content = rewritten(archive, lambda name, data: text if name == "extra/ugmm.json" else data)
    refused(tmp_path / "model.pt2", content, "was not exported by ugmm")


WEIGHTS = "data/weights/model_weights_config.json"


@pytest.mark.parametrize("name", ["extra/ugmm.json", WEIGHTS])
def test_what_unpacks_to_more_is_not_unpacked(archive, tmp_path, name, monkeypatch):
    """A small file of many blanks, which JSON may have between its values."""
    content = rewritten(
        archive,
        lambda each, data: data + b" " * 10**7 if each == name else data,
        zipfile.ZIP_DEFLATED,
    )
    assert len(content) < 10**6
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    refused(tmp_path / "model.pt2", content, "it unpacks to more than it holds")


def test_what_is_compressed_is_refused(archive, tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(content, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.writestr(f"top/{WEIGHTS}", b"{}", zipfile.ZIP_DEFLATED)  # the last of a name counts
    refused(tmp_path / "model.pt2", seal(content.getvalue()), f"{WEIGHTS} is compressed")


def test_damage_within_a_member_is_one_line(archive, tmp_path):
    """With a sum of the whole that fits: members have sums of their own."""
    with zipfile.ZipFile(archive) as file:
        data, note = archive.read_bytes(), file.comment
    place = data.index(b'"library_name"')
    flipped = bytearray(data[: -len(note)])
    flipped[place + 1] ^= 1
    content = bytes(flipped[:-2]) + b"\0\0"
    refused(tmp_path / "model.pt2", seal(content), r"not an archive of ugmm \(BadZipFile")


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: meta.update(strides=[{"as_int": 0} for _ in meta["sizes"]]),
        lambda meta: meta.update(sizes=[{"as_int": 2**40} for _ in meta["sizes"]]),
        lambda meta: meta.update(sizes=[{"as_int": -1} for _ in meta["sizes"]]),
        lambda meta: meta["sizes"][0].update(as_int=meta["sizes"][0]["as_int"] - 1),
        lambda meta: meta["storage_offset"].update(as_int=-1),
        lambda meta: meta["storage_offset"].update(as_int=1),
        lambda meta: meta["sizes"].pop(),
        lambda meta: meta.update(dtype=5),
    ],
    ids=["stride 0", "huge", "negative", "fewer", "before", "behind", "lacking", "dtype"],
)
def test_a_tensor_is_all_the_bytes_of_its_member(archive, tmp_path, change):
    def edit(name, data):
        if name != WEIGHTS:
            return data
        listed = json.loads(data)
        weights = (entry["tensor_meta"] for entry in listed["config"].values())
        change(next(meta for meta in weights if len(meta["sizes"]) > 1))
        return json.dumps(listed)

    refused(tmp_path / "model.pt2", rewritten(archive, edit), "is not an archive of ugmm")


def test_a_tensor_without_bytes_is_refused(archive, tmp_path):
    content = rewritten(
        archive, lambda name, data: b"" if name == "data/weights/weight_0" else data
    )
    refused(tmp_path / "model.pt2", content, r"has 0 bytes for sizes")


def test_other_kinds_of_files_are_refused(tmp_path):
    path = tmp_path / "model.pt2"
    torch.save({"a": 1}, path)
    with pytest.raises(UserError, match="was not exported by ugmm"):
        load(path)
    path.write_bytes(seal(path.read_bytes()))
    with pytest.raises(UserError, match="is not an archive of ugmm"):
        load(path)
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(UserError, match="for an ONNX runtime, and ugmm does not read it back"):
        load(tmp_path / "model.onnx")
    with pytest.raises(UserError, match="has no checkpoints; name none"):
        load(path, "best")


@pytest.mark.parametrize(("write", "ending"), [(to_pt2, "pt2"), (to_onnx, "onnx")])
def test_a_file_of_another_kind_is_left_alone(exported, table, tmp_path, write, ending):
    run, _ = exported("pt2", "iris_disc", *table)
    with pytest.raises(UserError, match=rf"notes\.txt: name a file that ends in \.{ending}"):
        write(load(run.folder), tmp_path / "notes.txt")


def test_the_sum_is_of_all_before_it(archive):
    data = archive.read_bytes()
    with zipfile.ZipFile(archive) as file:
        note = file.comment
    assert note == b"sha256:" + hashlib.sha256(data[: -len(note)]).hexdigest().encode()
