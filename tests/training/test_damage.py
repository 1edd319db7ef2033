"""A file of a run that is damaged or lost: one line that names it and the remedy, or no matter."""

import csv
import shutil

import pytest
import torch

import ugmm
from ugmm.cli import main
from ugmm.errors import UserError


def change(name, **changes):
    """Change keys of a checkpoint's stamp or of its content; None takes one away."""

    def damage(run):
        path = run.checkpoints / name
        checkpoint = torch.load(path, weights_only=True)
        for key, value in changes.items():
            part = checkpoint["ugmm"] if key in checkpoint["ugmm"] else checkpoint
            part[key] = value
            if value is None:
                del part[key]
        torch.save(checkpoint, path)

    return damage


def put(name, data):
    def damage(run):
        (run.folder / name).write_bytes(data)

    return damage


def make_folder(name):
    def damage(run):
        (run.folder / name).unlink()
        (run.folder / name).mkdir()

    return damage


def flip_signs(run):
    data = bytearray(run.best.read_bytes())
    weights = torch.load(run.best, weights_only=True)["state_dict"]["network.layers.0.loc"]
    start = bytes(data).index(weights.numpy().tobytes())
    for place in range(start + 3, start + 4 * weights.numel(), 4):
        data[place] ^= 0x80
    run.best.write_bytes(data)


def damage_all(run):
    """Damage the last checkpoint, and the one before it."""
    for name in ("last", "last-1"):
        put(f"checkpoints/{name}.ckpt", b"hello")(run)


def spoil(name):
    def damage(run):
        path = run.checkpoints / name
        checkpoint = torch.load(path, weights_only=True)
        for tensor in checkpoint["state_dict"].values():
            tensor.fill_(torch.nan)
        torch.save(checkpoint, path)

    return damage


def alter(name, change_weights):
    """Change the first layer's means in a checkpoint, as another program might."""

    def damage(run):
        path = run.checkpoints / name
        checkpoint = torch.load(path, weights_only=True)
        weights = checkpoint["state_dict"]
        weights["network.layers.0.loc"] = change_weights(weights["network.layers.0.loc"])
        torch.save(checkpoint, path)

    return damage


def shorten(weights):
    return weights[:-1]


def blow_up(weights):
    return weights * torch.inf


# What complains of it: commands, of eval, resume and load.
KINDS = {
    "hello": (put("checkpoints/best.ckpt", b"hello"), "is corrupt", "eval resume load"),
    "hello, all": (damage_all, "last.ckpt is corrupt", "resume"),
    "signs": (flip_signs, "is corrupt and cannot be read (the sum", "eval resume load"),
    "nan": (spoil("best.ckpt"), "holds NaN", "eval resume load"),
    "nan, last": (spoil("last.ckpt"), "holds NaN", "resume"),
    "shape": (alter("best.ckpt", shorten), "network (size mismatch for", "eval resume load"),
    "shape, last": (alter("last.ckpt", shorten), "does not fit its network", "resume"),
    "infinite": (alter("best.ckpt", blow_up), "is not finite", "eval resume load"),
    "no format": (change("best.ckpt", format=None), "it has no format", "eval resume load"),
    "no n_features": (change("best.ckpt", n_features=None), "no n_features", "eval resume load"),
    "no seconds": (change("last.ckpt", seconds=None), "it has no seconds", "resume"),
    "no weights": (change("last.ckpt", state_dict=None), "it has no state_dict", "resume"),
    "no epoch": (change("last.ckpt", epoch=None), "it has no epoch", "resume"),
    "no optimiser": (change("last.ckpt", optimizer_states=None), "no optimizer_st", "resume"),
    "folder": (make_folder("checkpoints/last.ckpt"), "Is a directory", "resume"),
    "metrics": (put("metrics.csv", b"epoch,step\n\xff\n"), "metrics.csv is damaged", "resume"),
    "zeros": (put("metrics.csv", b"epoch,step\n\0\0\n"), "metrics.csv is damaged", "resume"),
    "header": (put("metrics.csv", b"epohc,step\n1,2\n"), "no epoch or no step", "resume"),
    "environment": (put("environment.json", b"{"), "environment.json is damaged",
                    "eval resume load"),
    "plugins": (put("environment.json", b'{"plugins": [5]}'), "environment.json", "eval resume"),
    "config": (put("config.yaml", b"seed: ["), "config.yaml: not valid YAML", "eval resume load"),
    "config, no text": (put("config.yaml", b"\xff\xfe"), "not a text file", "eval resume load"),
    "summary 5": (put("summary.json", b"5"), "remove it, and resume the run", "resume"),
    "summary null": (put("summary.json", b"null"), "remove it, and resume the run", "resume"),
    "summary list": (put("summary.json", b'{"test/accuracy": [1]}'), "remove it, and", "resume"),
    "summary true": (put("summary.json", b'{"test/accuracy": true}'), "remove it, and", "resume"),
    "summary deep": (put("summary.json", b"[" * 99999), "remove it, and resume", "resume"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_one_line(trained, capfd, kind):
    damage, complaint, where = KINDS[kind]
    run = trained("iris_disc")
    if not kind.startswith("summary"):
        run.summary.unlink()  # or it would have ended
    damage(run)
    for command in set(where.split()) - {"load"}:
        words = {"eval": ["eval"], "resume": ["train", "--resume"]}[command]
        assert main([*words, str(run.folder)]) == 1, command
        error = capfd.readouterr().err
        assert complaint in error
        assert str(run.folder) in error
        assert error.count("\n") == 1
    if "load" in where:
        with pytest.raises(UserError) as caught:
            ugmm.load(run.folder)
        assert complaint in str(caught.value)


def cut(data):
    return data[: len(data) // 2]


def flip(data):
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


@pytest.mark.parametrize("harm", [cut, flip])
def test_where_the_last_checkpoint_is_damaged_the_one_before_is_used(trained, capfd, harm):
    run = trained("iris_disc")
    before, metrics = {**run.read_summary(), "seconds": 0}, run.metrics.read_bytes()
    weights = torch.load(run.last, weights_only=True)["state_dict"]
    run.summary.unlink()
    earlier = run.last.with_name("last-1.ckpt")
    run.last.write_bytes(harm(run.last.read_bytes()))
    assert main(["train", "--resume", str(run.folder)]) == 0
    said = capfd.readouterr()
    assert "going on after epoch 2\n" in said.out
    assert said.err.startswith(f"warning: {run.last} is corrupt and cannot be read")
    assert said.err.endswith(f"going on from {earlier}, which is from before it\n")
    assert said.err.count("\n") == 1
    assert {**run.read_summary(), "seconds": 0} == before
    assert run.metrics.read_bytes() == metrics
    assert torch.load(earlier, weights_only=True)["epoch"] == 1  # no damaged one in its place
    again = torch.load(run.last, weights_only=True)["state_dict"]
    assert all(torch.equal(again[name], weights[name]) for name in weights)


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_checkpoint_of_another_seed_is_refused(trained, capfd, name):
    run, other = trained("iris_disc"), trained("iris_disc", "seed=1")
    shutil.copyfile(other.checkpoints / f"{name}.ckpt", run.checkpoints / f"{name}.ckpt")
    run.summary.unlink()
    for words in [["train", "--resume"], ["eval"]][: 1 + (name == "best")]:
        assert main([*words, str(run.folder)]) == 1
        assert "is of another run" in capfd.readouterr().err
    with pytest.raises(UserError, match="is of another run"):
        ugmm.load(run.folder, name)


def test_lost_metrics_start_anew_with_a_note(trained, capfd):
    run = trained("iris_disc")
    expected = {**run.read_summary(), "seconds": 0}
    for path in (run.summary, run.metrics):
        path.unlink()
    assert main(["train", "--resume", str(run.folder)]) == 0
    assert f"{run.metrics} is lost; it starts anew from epoch 5" in capfd.readouterr().err
    assert {**run.read_summary(), "seconds": 0} == expected
    with run.metrics.open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["4"]  # the test


@pytest.mark.parametrize("name", ["environment.json", "spec.json"])
def test_what_is_lost_but_not_needed_keeps_nothing_from_being_used(trained, name):
    run = trained("iris_disc")
    expected = run.read_summary()
    for path in (run.summary, run.folder / name):
        path.unlink()
    assert main(["train", "--resume", str(run.folder)]) == 0
    assert {**run.read_summary(), "seconds": 0} == {**expected, "seconds": 0}
    assert main(["eval", str(run.folder)]) == 0
    assert ugmm.load(run.folder).class_names == ("setosa", "versicolor", "virginica")
