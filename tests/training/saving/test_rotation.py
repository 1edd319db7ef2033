"""The last checkpoints of a run: at every moment there is one that can be read."""

import io
import os
from pathlib import Path

import pytest
import torch

from ugmm.checkpoints import is_whole, seal
from ugmm.training.saving.checkpoint import AtomicCheckpointIO
from ugmm.training.saving.rotation import kept


def numbers(folder):
    """What the checkpoints hold, the last one first."""
    return [int(torch.load(path, weights_only=True)["n"]) for path in kept(folder / "last.ckpt")]


def save(folder, keep, upto):
    writer = AtomicCheckpointIO(folder / "last.ckpt", keep)
    for n in range(upto):
        writer.save_checkpoint({"n": n}, folder / "last.ckpt")


@pytest.mark.parametrize(("keep", "expected"), [(1, [4]), (2, [4, 3]), (4, [4, 3, 2, 1])])
def test_so_many_are_kept(tmp_path, keep, expected):
    save(tmp_path, keep, 5)
    assert numbers(tmp_path) == expected
    assert len(list(tmp_path.iterdir())) == keep


def test_others_are_not_kept(tmp_path):
    writer = AtomicCheckpointIO(tmp_path / "last.ckpt", 2)
    for _ in range(2):
        writer.save_checkpoint({}, tmp_path / "best.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["best.ckpt"]


def test_at_every_moment_the_newest_can_be_read(tmp_path, monkeypatch):
    """Whatever the process was doing to the folder when it was killed."""
    seen = []

    def watched(change):
        def changed(*arguments, **keywords):
            done = change(*arguments, **keywords)
            if kept(tmp_path / "last.ckpt"):
                seen.append(numbers(tmp_path))
            return done

        return changed

    for owner, name in ((Path, "replace"), (Path, "write_bytes"), (os, "link")):
        monkeypatch.setattr(owner, name, watched(getattr(owner, name)))
    save(tmp_path, 3, 4)
    assert len(seen) > 10
    newest = [each[0] for each in seen]
    assert newest == sorted(newest)
    assert all(path.name == "last.ckpt" for path in kept(tmp_path / "last.ckpt")[:1])


def test_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    save(tmp_path, 2, 3)
    assert numbers(tmp_path) == [2, 1]


def test_a_damaged_one_takes_no_place_of_a_good_one(tmp_path):
    save(tmp_path, 2, 3)
    last = tmp_path / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-9])
    AtomicCheckpointIO(last, 2).save_checkpoint({"n": 7}, last)
    assert numbers(tmp_path) == [7, 1]


def test_both_the_file_and_its_name_are_brought_to_the_disk(tmp_path, monkeypatch):
    synced, bring = [], os.fsync

    def watch(descriptor):
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        bring(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    save(tmp_path, 1, 1)
    file, folder = synced
    assert file.name.startswith(".last.ckpt.")
    assert folder == tmp_path


def test_a_sealed_file_is_told_from_a_torn_one(tmp_path):
    content = io.BytesIO()
    torch.save({"n": torch.arange(100)}, content)
    path = tmp_path / "last.ckpt"
    path.write_bytes(seal(content.getvalue()))
    assert is_whole(path)
    path.write_bytes(seal(content.getvalue())[:-1])
    assert not is_whole(path)
    assert not is_whole(tmp_path / "missing.ckpt")
