"""The pieces of the benchmarks work; what they measure is not looked at."""

import contextlib
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """Import them as `python benchmarks` does, and forget them afterwards; on one thread."""
    before, threads = set(sys.modules), torch.get_num_threads()
    monkeypatch.syspath_prepend(BENCHMARKS)
    torch.set_num_threads(1)  # so small steps only wait for a second one
    yield
    torch.set_num_threads(threads)
    for path in BENCHMARKS.glob("*.py"):
        if path.stem not in before:
            sys.modules.pop(path.stem, None)


@pytest.fixture
def repository(monkeypatch, tmp_path):
    """A checkout of its own in the place of this one, with two commits; returns their git."""
    import trees

    def git(*arguments):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    monkeypatch.setattr(trees, "ROOT", tmp_path)
    git("init", "--quiet")
    for text in ("old", "new"):
        (tmp_path / "src").mkdir(exist_ok=True)
        (tmp_path / "src" / "text").write_text(text)
        git("add", ".")
        git("commit", "--quiet", "--message", text)
    return git


@pytest.fixture
def program():
    """The names of `python benchmarks`."""
    return runpy.run_path(str(BENCHMARKS / "__main__.py"), run_name="benchmarks")


def test_contenders_alternate():
    from common import Lap, Timing, alternate

    calls = []

    def step(name, seconds):
        calls.append(name)
        return [Lap(seconds, seconds / 2)] * 2

    def fails():
        raise ValueError("no\nmore")

    steps = {
        "quick": lambda: step("quick", 0.1),
        "slow": lambda: step("slow", 4),
        "broken": fails,
    }
    results, failed = alternate(steps, 10, most=5)
    assert failed == {"broken": "ValueError: no"}
    assert [len(results[name]) for name in ("quick", "slow")] == [5, 3]
    assert calls[2:5] == ["quick", "quick", "slow"]  # a slow one fills the caches by itself
    timing = Timing.of(results["quick"])
    assert timing.cpu == pytest.approx((0.1, 0.1, 0.1, 5))
    assert timing.wall == pytest.approx((0.2, 0.2, 0.2, 5))
    assert timing.seconds == timing.cpu
    assert timing.parts == pytest.approx([0.05, 0.05])


def test_layers_agree():
    import layers
    import networks

    ours = layers.module(layers.OURS, 5, 3)
    x, _ = layers.tensors(layers.OURS, (4, 3, 5))
    for formula in (networks.eager, networks.lean):
        score = formula(x, ours.loc, ours.log_scale, ours.logits)
        torch.testing.assert_close(score, ours(x), rtol=1e-4, atol=1e-4)


def test_steps_of_layers():
    import layers

    ours = [layers.OURS, layers.OURS + layers.NO_DX, layers.OURS + layers.DROPPED]
    for name in [*ours, layers.EAGER, layers.REFERENCE, layers.LINEAR]:
        laps = layers.make("4x3x32", name)()
        assert len(laps) == 2
        assert all(lap.cpu > 0 for lap in laps)
    assert not layers.tensors(ours[1], (4, 3, 5))[0].requires_grad
    with pytest.raises(Exception, match=r"^needs \d+ GiB$"):
        layers.make("100000x1000x1000", layers.EAGER)


def test_the_limit_does_what_the_formula_says():
    import numpy as np

    import limit

    found = limit.Limit(components=1, repeats=1)
    assert all(lap.cpu > 0 for lap in found.step()())
    x = found.x.reshape(limit.ROWS, limit.INPUTS)
    mean, rate, level = found.constants.reshape(3, limit.INPUTS)
    weighted = 0.5 * np.exp2(level - ((x - mean) * rate) ** 2)
    sums = found.out.reshape(3, limit.INPUTS)
    np.testing.assert_allclose(sums[0], weighted.sum(0), rtol=1e-5)


def test_cumulative_contenders_agree():
    import cumulative

    ours = [cumulative.OURS, cumulative.OURS + cumulative.NO_DX, cumulative.OURS + cumulative.FEW]
    for name in ours:
        inputs, _ = cumulative.tensors(name, (4, 3, 30))
        score = cumulative.function(name, 30)(*inputs)
        expected = cumulative.eager(*inputs)
        if name.endswith(cumulative.FEW):
            expected = expected[:, 5::10]
        torch.testing.assert_close(score, expected, rtol=1e-4, atol=1e-4)
        assert cumulative.make("4x3x30", name)()[0].cpu > 0


@pytest.mark.parametrize("package", [None, "spflow", "cirkit"])
def test_peers_learn(package):
    import networks
    import steps

    names = {None: [networks.MLP_MANY, networks.RBF, networks.EAGER]}.get(
        package, [name for name in networks.PEERS if name.startswith(str(package))][:1]
    )
    if package:
        pytest.importorskip(package)
    ours = parameters(steps.network_of(steps.TRAINING, steps.OURS))
    for name in names:
        network = networks.PEERS[name]()
        assert parameters(network) == pytest.approx(ours, rel=0.05)
        steps.check_learning(network)


def test_a_peer_that_does_not_learn_is_not_timed():
    import steps
    from common import BenchError

    class Stubborn(torch.nn.Linear):
        def forward(self, x):
            return 0 * super().forward(x)

    with pytest.raises(BenchError, match=r"^it does not learn: from loss 2\.303 to 2\.303$"):
        steps.check_learning(Stubborn(784, 10))


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def test_steps_of_networks():
    import scaling
    import steps

    for case in (steps.TRAINING, steps.IRIS, f"{steps.PREDICT} 3", f"{steps.DRAW} 1"):
        assert steps.make(case, steps.OURS)()[0].cpu > 0
    assert scaling.make("batch 4", "1 thread")()[0].cpu > 0
    assert scaling.extra_mib(scaling.OURS, (64, 32, 64), "cpu") >= 0
    assert scaling.mib_of_tensors(scaling.OURS, (2, 3, 4)) == 4 * 2 * (2 * 7 + 3 * 12) / 2**20


def test_a_worker_takes_the_sources_of_its_tree():
    import trees
    from common import BenchError

    root = BENCHMARKS.parent
    with trees.Worker(root) as worker:
        found = worker.call("builtins", "eval", "__import__('ugmm').__file__")
        assert Path(found).is_relative_to(root / "src")
        laps = worker.step("layers", "4x3x5", "ugmm", "cpu")
        assert [lap.cpu > 0 for lap in laps] == [True, True]
        with pytest.raises(BenchError, match=r"^ZeroDivisionError: division by zero$"):
            worker.call("builtins", "eval", "1 / 0")
        with pytest.raises(BenchError, match=r"^the process ended, with exit code 3$"):
            worker.call("os", "_exit", 3)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_a_worktree_is_removed_however_it_ends(repository, error):
    import trees

    expected = pytest.raises(error) if error else contextlib.nullcontext()
    with expected, trees.worktree("HEAD~1") as tree:
        assert (tree / "src" / "text").read_text() == "old"
        assert trees.commit_of(tree) == repository("rev-parse", "--short", "HEAD~1")
        (tree / "src" / "text").write_text("changed")
        if error:
            raise error
    assert not tree.parent.exists()
    assert len(repository("worktree", "list").splitlines()) == 1


def test_the_commit_tells_of_changes(repository, tmp_path):
    import trees

    commit = repository("rev-parse", "--short", "HEAD")
    (tmp_path / "README").write_text("not measured")
    assert trees.commit_of(tmp_path) == commit
    trees.commit_of.cache_clear()
    (tmp_path / "src" / "text").write_text("newer")
    assert trees.commit_of(tmp_path) == f"{commit} with uncommitted changes"


def test_an_unknown_commit_is_one_line(repository, program, capsys):
    for commit in ("no-such-branch", "", "--help"):
        assert program["main"]([f"--against={commit}"]) == 2
        said = capsys.readouterr().err
        assert (
            said
            == f"error: --against: there is no commit {commit!r} here; see git log --oneline\n"
        )
    assert len(repository("worktree", "list").splitlines()) == 1


def test_files_that_cannot_be_used_are_one_line(program, tmp_path, capsys):
    (tmp_path / "bad.json").write_text("no")
    for arguments in (
        ["--add", str(tmp_path / "missing.json")],
        ["--add", str(tmp_path / "bad.json")],
        ["--save", str(tmp_path / "missing" / "file.json")],
    ):
        assert program["main"](arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert arguments[1] in said
        assert said.count("\n") == 1


def test_without_git_there_is_nothing_to_compare_with(monkeypatch, program, tmp_path, capsys):
    import trees

    monkeypatch.setattr(trees, "ROOT", tmp_path)
    assert program["main"](["--against", "HEAD"]) == 2
    assert "needs a git checkout" in capsys.readouterr().err


def test_a_command_is_timed(tmp_path):
    import commands
    from common import BenchError

    (lap,) = commands.run(tmp_path, ("-c", "pass"), tmp_path)
    assert lap.cpu > 0
    assert lap.wall > 0
    with pytest.raises(BenchError, match=r"^exit code 1: ValueError: so it is$"):
        commands.run(tmp_path, ("-c", "print(1)\nraise ValueError('so it is')"), tmp_path)


def test_the_fit_of_a_command_is_timed(monkeypatch, tmp_path):
    import commands

    lines = [
        "class Trainer:",
        "    global_step = 7",
        "    def fit(self, x):",
        "        self.x = x",
    ]
    (tmp_path / "a_trainer.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(commands, "TRAINER", "a_trainer")
    clock, report = commands.FitClock(tmp_path / "fit.json"), tmp_path / "fit.json"
    monkeypatch.setattr(sys, "meta_path", [clock, *sys.meta_path])
    import a_trainer

    assert clock not in sys.meta_path
    trainer = a_trainer.Trainer()
    trainer.fit(3)
    assert trainer.x == 3
    found = json.loads(report.read_text())
    assert found["steps"] == 7
    assert len(found["laps"]) == 2


def record(part, case, contender, seconds, tree="now", **more):
    about = {"part": part, "case": case, "contender": contender, "tree": tree}
    return {**about, "seconds": seconds, **more}


def test_what_must_hold():
    import holds

    training = [
        record("steps", "mnist_disc", "ugmm", 0.010),
        record("steps", "mnist_disc", "ugmm", 0.015, "before"),
        record("steps", "mnist_disc", "MLP, as many parameters", 0.004),
    ]
    rows = holds.holds_table(training, "cpu").rows
    expected = ["steps: mnist_disc", "ugmm", "15.000", "10.000", "1.50x", "at least 1.4"]
    expected += ["MLP, as many parameters", "4.000", "2.50x", "at most 3.3", "yes"]
    assert rows == [expected]
    slow = [record("steps", "mnist_disc", "ugmm", 0.014), *training[1:]]
    assert holds.holds_table(slow, "cpu").rows[0][-1] == "no"
    alone = [record("commands", "ugmm list", "ugmm list", 0.3)]  # beside a number of seconds
    (row,) = holds.holds_table(alone, "cpu").rows
    assert row[-4:] == ["200.0", "1.50x", "at most 1", "no"]
    assert holds.holds_table([], "cpu") is None


def test_the_names_of_what_must_hold_are_those_that_are_timed():
    import commands
    import cumulative
    import holds
    import layers
    import scaling
    import steps

    for device, rows in holds.HOLDS.items():
        timed = {}
        for part in (layers, steps, cumulative, scaling):
            for case in part.cases(False, device):
                timed[part.__name__, case.name] = [*case.ours, *case.peers]
        for name in commands.STARTS:
            timed["commands", name] = [name]
        for name in commands.TRAININGS:
            for what in ("a step", "whole"):
                timed["commands", f"{name}, {what}"] = [name]
        for hold in rows:
            ours, peer = (hold.part, hold.case), (hold.part, hold.case, hold.peer)
            assert {hold.contender, hold.before or hold.contender} <= set(timed[ours])
            if isinstance(hold.peer, str) and hold.peer:
                *case, name = hold.at or peer
                assert name in timed[tuple(case)]


def test_the_results_keep_other_machines(program, capsys):
    from common import Table

    table = Table("A title", ["what:4", "ms:4"], "A note.")
    table.add("one", 1.5)
    assert capsys.readouterr().out == "\nA title\nA note.\nwhat    ms\n one   1.5\n"

    def section(machine):
        about = {"machine": machine, "versions": "v", "commits": "Measured: abc", "quick": False}
        return program["section"]({**about, "tables": [table.plain()]})

    text = program["replaced"]("", section("one"))
    text = program["replaced"](text, section("two"))
    assert re.findall("^## .*", text, re.MULTILINE) == ["## two", "## one"]
    assert program["replaced"](text, section("two")) == text
    assert "| one | 1.5 |" in text
    assert "v. Measured: abc." in text


def test_the_picture_is_drawn_of_what_there_is(tmp_path):
    import figure

    records = [
        record("layers", "256x128x784", "ugmm", 0.01),
        record("layers", "256x128x784", "limit", 0.001),
        record("steps", "mnist_disc", "MLP, as wide", 0.001),
        record("scaling", "batch 32", "1 thread", 0.1),
        record("scaling", "width 64", "1 thread", 0.2),
        record("scaling", "depth 1", "1 thread", 0.3),
        record("memory", "256x256x256", "ugmm", 0, n=256, one=64, extra=2, tensors=3),
    ]
    for found in (records, records[:2]):
        figure.draw("a machine", found, tmp_path / "speed.png")
        assert (tmp_path / "speed.png").stat().st_size > 1000
        (tmp_path / "speed.png").unlink()


def test_a_page_has_one_section_a_script(monkeypatch, tmp_path, capsys):
    import pages

    monkeypatch.setattr(pages, "HERE", tmp_path)
    page = pages.Page("queries", "What was found")
    for name, text in [("b", "first"), ("a", "other"), ("b", "second")]:
        page.show(name, "a title", text, write=True)
    page.show("c", "a title", "only shown", write=False)
    assert "only shown" in capsys.readouterr().out
    written = (tmp_path / "QUERIES.md").read_text()
    assert written.startswith("# What was found\n")
    assert [line for line in written.splitlines() if line.startswith("## ")] == [
        "## a: a title",
        "## b: a title",
    ]
    assert "second" in written
    assert "first" not in written
