"""A checkpoint is read only if it is undamaged, whole and of this run; else there is one line."""

import io
import re
import zipfile

import pytest
import torch

from ugmm.checkpoints import (
    FORMAT,
    Checkpoint,
    DamagedError,
    is_whole,
    read_checkpoint,
    restore,
    seal,
)
from ugmm.errors import UserError
from ugmm.spec import Spec

LOOPS = {"fit_loop": {"epoch_progress": {}}}
WEIGHTS = {"network.weight": torch.eye(3), "network.bias": torch.zeros(3)}


def content(**changes):
    stamp = {
        "format": FORMAT, "config": "seed: 0\n", "n_features": 3, "n_classes": 3, "seconds": 1.5,
        "spec": Spec(3, ("a", "b", "c")).to_json(), "run_id": "1234", "validation": {},
        "best_epoch": None,
    }  # fmt: skip
    whole = {
        "epoch": 4, "global_step": 40, "state_dict": WEIGHTS, "loops": LOOPS, "callbacks": {},
        "optimizer_states": [], "lr_schedulers": [], "ugmm": stamp,
    }  # fmt: skip
    return {**whole, **changes}


def stamped(**changes):
    return content(ugmm={**content()["ugmm"], **changes})


def without(name):
    whole = content()
    for part in (whole, whole["ugmm"]):
        part.pop(name, None)
    return whole


@pytest.fixture
def path(tmp_path):
    return tmp_path / "best.ckpt"


def save(path, what):
    torch.save(what, path)
    return path


def refuse(path, complaint, **options):
    with pytest.raises(UserError, match=re.escape(complaint)) as caught:
        read_checkpoint(path, **options)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)  # a remedy


def test_what_was_saved_is_read(path):
    saved = read_checkpoint(save(path, content()), run_id="1234")
    assert (saved.epoch, saved.stamp.seconds, saved.spec.class_names) == (4, 1.5, ("a", "b", "c"))
    network = torch.nn.Linear(3, 3)
    restore(network, saved)
    assert torch.equal(network.weight, torch.eye(3))


@pytest.mark.parametrize("name", ["spec", "run_id", "validation", "best_epoch"])
def test_what_earlier_versions_did_not_write_is_none(path, name):
    saved = read_checkpoint(save(path, without(name)), run_id="1234")
    assert getattr(saved.stamp, name) is None


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04" + bytes(99)])
def test_other_bytes_are_one_line(path, data):
    path.write_bytes(data)
    refuse(path, "is corrupt and cannot be read (")


def test_a_folder_and_nothing_are_one_line(tmp_path):
    refuse(tmp_path, f"cannot read {tmp_path}: Is a directory")
    refuse(tmp_path / "none", "no checkpoint at")


def test_a_zip_of_something_else_is_one_line(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello", "hello")
    refuse(path, "is corrupt and cannot be read (")


def test_one_bit_anywhere_is_seen(path):
    """Weights are numbers whatever their bits: only the sums tell."""
    data = bytearray(save(path, content()).read_bytes())
    place = bytes(data).index(torch.eye(3).numpy().tobytes()) + 3
    data[place] ^= 0x80  # a sign
    path.write_bytes(data)
    refuse(path, "is corrupt and cannot be read (the sum of")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_one_line(path, share):
    data = save(path, content()).read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refuse(path, "is corrupt and cannot be read (")


@pytest.mark.parametrize(
    "name",
    ["format", "n_features", "n_classes", "seconds", "config", "epoch", "global_step",
     "state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks"],
)  # fmt: skip
def test_what_is_missing_is_named(path, name):
    refuse(save(path, without(name)), f"it has no {name}")


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        ([1, 2], "is not a checkpoint of ugmm"),
        ({"state_dict": {}}, "is not a checkpoint of ugmm"),
        (content(ugmm=5), "is not a checkpoint of ugmm"),
        (stamped(format=99), "has format 99"),
        (stamped(format="2"), "its format is of type str"),
        (stamped(n_features=None), "its n_features is of type NoneType"),
        (stamped(seconds="long"), "its seconds is of type str"),
        (stamped(validation=[1]), "its validation is of type list"),
        (stamped(validation={"val/nll": "low"}), "its validation holds what is of type str"),
        (content(loops={"fit_loop": 5}), "its loops holds what is of type int"),
        (content(loops={}), "it has no fit_loop"),
        (content(loops={"fit_loop": {"state_dict": 5}}), "its fit_loop holds what is of type int"),
        (content(loops={"fit_loop": {}}), "it has no epoch_progress"),
        (content(optimizer_states=[5]), "its optimizer_states holds what is of type int"),
        (content(lr_schedulers=[None]), "its lr_schedulers holds what is of type NoneType"),
        (content(epoch=True), "its epoch is of type bool"),
        (content(optimizer_states={}), "its optimizer_states is of type dict"),
        (content(state_dict={"network.weight": 5}), "network.weight is no tensor"),
        (content(state_dict={"w": torch.full((2, 2), torch.nan)}), "w holds NaN"),
    ],
)
def test_what_is_wrong_is_named(path, what, complaint):
    refuse(save(path, what), complaint)


def test_a_checkpoint_of_another_run_is_refused(path):
    save(path, content())
    refuse(path, "is of another run (1234, and this is 5678)", run_id="5678")
    assert isinstance(read_checkpoint(path), Checkpoint)
    save(path, without("run_id"))  # from before there was one
    assert read_checkpoint(path, run_id="5678").stamp.run_id is None


@pytest.mark.parametrize(
    ("weights", "complaint"),
    [
        ({"network.weight": torch.ones(2, 3)}, "does not fit its network"),
        ({"network.weight": torch.eye(3)}, "does not fit its network"),
        ({**WEIGHTS, "network.other": torch.eye(3)}, "does not fit its network"),
        ({**WEIGHTS, "network.bias": torch.full((3,), torch.inf)}, "bias is not finite"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(path, weights, complaint):
    saved = read_checkpoint(save(path, content(state_dict=weights)))
    with pytest.raises(UserError, match=complaint) as caught:
        restore(torch.nn.Linear(3, 3), saved)
    assert "\n" not in str(caught.value)


def test_nothing_in_a_checkpoint_is_run(path, tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "attacked"), "w"))

    refuse(save(path, stamped(spec=Attack())), "holds what no checkpoint of ugmm does")
    assert not (tmp_path / "attacked").exists()


def test_a_number_that_is_not_known_yet_may_be_nan(path):
    """Such as the estimate of a partition function."""
    save(path, content(state_dict={"network.log_z": torch.tensor(torch.nan)}))
    assert read_checkpoint(path).content["state_dict"]["network.log_z"].isnan()


def saved():
    """The bytes of a checkpoint as a run saves it."""
    data = io.BytesIO()
    torch.save(content(), data)
    return seal(data.getvalue())


def test_what_is_sealed_holds_the_same_for_torch(path):
    path.write_bytes(saved())
    assert is_whole(path)
    assert read_checkpoint(path).content["global_step"] == 40
    for mmap in (False, True):
        weights = torch.load(path, weights_only=True, mmap=mmap)["state_dict"]
        assert torch.equal(weights["network.weight"], torch.eye(3))


def test_any_bit_that_flips_is_found(path):
    data = saved()
    tables = range(data.index(b"PK\1\2"), len(data))  # of which the sums in a zip say nothing
    for place in {*range(0, len(data), 31), *tables}:
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(DamagedError, match="is corrupt and cannot be read"):
            read_checkpoint(path)
        assert not is_whole(path)


def test_any_truncation_is_found(path):
    data = saved()
    for length in {0, 1, *range(0, len(data), 97), *range(len(data) - 90, len(data))}:
        path.write_bytes(data[:length])
        with pytest.raises(DamagedError, match="is corrupt and cannot be read"):
            read_checkpoint(path)
