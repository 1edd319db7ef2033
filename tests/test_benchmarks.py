"""The pieces of the benchmarks work; what they measure is not looked at."""

import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import ugmm.functional
import ugmm.kernels

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """Import them as `python benchmarks/X.py` does, and forget them afterwards; on one thread."""
    before, threads = set(sys.modules), torch.get_num_threads()
    monkeypatch.syspath_prepend(BENCHMARKS)
    torch.set_num_threads(1)  # so small steps only wait for a second one
    yield
    torch.set_num_threads(threads)
    for path in BENCHMARKS.glob("*.py"):
        if path.stem not in before:
            sys.modules.pop(path.stem, None)


def test_contenders_alternate():
    from common import alternate, spread_of_sums

    calls = []

    def step(name, seconds):
        calls.append(name)
        return seconds, seconds

    def fails():
        raise ValueError("no\nmore")

    steps = {
        "quick": lambda: step("quick", 0.1),
        "slow": lambda: step("slow", 2),
        "broken": fails,
    }
    results, failed = alternate(steps, 10, most=5)
    assert failed == {"broken": "ValueError: no"}
    assert [len(results[name]) for name in ("quick", "slow")] == [5, 3]
    assert calls[2:5] == ["quick", "quick", "slow"]  # a slow one fills the caches by itself
    assert spread_of_sums(results["quick"]) == pytest.approx((0.2, 0.2, 0.2, 5))


def test_the_contenders_agree():
    import kernels

    inputs, grad = kernels.layer("cpu", (4, 3, 5))
    names = ("eager", "reference", "cpu", "cpu, no dx", "cpu, zeros")
    scores = [kernels.contender(name)(*inputs) for name in names]
    scores.append(kernels.lean(*inputs))
    for score in scores[1:]:
        torch.testing.assert_close(score, scores[0], rtol=1e-4, atol=1e-4)
    assert len(kernels.step(kernels.contender("cpu"), inputs, grad)) == 2
    assert not kernels.layer("cpu, no dx", (4, 3, 5))[0][0].requires_grad


def test_the_limit_does_what_the_formula_says():
    import numpy as np

    import limit

    found = limit.Limit(repeats=1)
    assert all(seconds > 0 for seconds in found())
    assert all(rate > 0 for rate in found.rates([found()]).values())
    x = found.x[0].reshape(limit.ROWS, limit.INPUTS)
    mean, rate, level = found.constants[0].reshape(3, limit.INPUTS)
    weighted = 0.5 * np.exp2(level - ((x - mean) * rate) ** 2)
    sums = found.out[0].reshape(3, limit.INPUTS)  # of the last part, backward without dx
    np.testing.assert_allclose(sums[0], weighted.sum(0), rtol=1e-5)


def test_the_networks_learn():
    import steps

    for name in ("ugmm", "eager, as published", "MLP"):
        before, after = steps.losses(steps.NETWORKS[name])
        assert after < before


def test_the_circuits_learn():
    pytest.importorskip("spflow")
    import steps

    network = steps.NETWORKS["spflow RatSPN"]()
    ours = steps.NETWORKS[steps.OURS]()
    sizes = [sum(p.numel() for p in n.parameters()) for n in (network, ours)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)
    x, y = steps.batch_of(16)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    losses = [steps.train(network, optimizer, x, y)[3] for _ in range(3)]
    assert losses[-1] < losses[0]


def test_memory_and_a_step_of_the_scaling():
    import scaling

    assert scaling.unit_mib(2, [3, 4]) == 4 * (2 * 7 + 12) / 2**20
    assert scaling.step({"batch": 4, "width": 8, "depth": 2}, 1)()[0] > 0


def test_parts_of_a_step_add_up(monkeypatch):
    import overhead

    now = 5.0
    monkeypatch.setattr(overhead, "time", SimpleNamespace(perf_counter=lambda: now))
    clock = overhead.Clock()
    now += 1
    with clock.part("data"):
        now += 2
        with clock.part("kernels, forward"):
            now += 4
        now += 8
    now += 16
    found = clock.read()
    expected = {"data": 2 + 8, "kernels, forward": 4, overhead.REST: 1 + 16}
    assert found == {name: expected.get(name, 0) for name in overhead.PARTS}


def test_the_results_keep_other_machines(capsys):
    from common import Table

    table = Table("A title", ["what:4", "ms:4"], "A note.")
    table.add("one", 1.5)
    assert capsys.readouterr().out == "\nA title\nA note.\nwhat    ms\n one   1.5\n"
    script = runpy.run_path(str(BENCHMARKS / "__main__.py"), run_name="benchmarks")

    def section(machine):
        part = {"part": "x", "machine": machine, "versions": "v", "tables": [table.plain()]}
        return script["section"]([part], quick=False)

    text = script["replaced"]("", section("one"))
    text = script["replaced"](text, section("two"))
    assert re.findall("^## .*", text, re.MULTILINE) == ["## two", "## one"]
    assert script["replaced"](text, section("two")) == text
    assert "| one | 1.5 |" in text


def test_the_profile_sees_the_kernels(monkeypatch):
    import overhead

    monkeypatch.setattr(ugmm.kernels, "CPU", ugmm.kernels.CPU)  # put back afterwards
    overhead.time_kernels()
    inputs = [torch.zeros(3, 4, requires_grad=True) for _ in range(4)]
    ugmm.functional.mixture_log_score(*inputs).sum().backward()
    totals = overhead.clock.read()
    assert totals["kernels, forward"] > 0
    assert totals["kernels, backward"] > 0


def test_the_cumulative_contenders_agree():
    import cumulative
    import kernels

    for name in cumulative.contenders("cpu"):
        inputs, grad = cumulative.layer(name, (4, 3, 30))
        score = cumulative.contender(name, 30)(*inputs)
        expected = cumulative.eager(*inputs)
        if name.endswith(cumulative.FEW):
            expected = expected[:, 5::10]
        torch.testing.assert_close(score, expected, rtol=1e-4, atol=1e-4)
        assert len(kernels.step(cumulative.contender(name, 30), inputs, grad)) == 2
