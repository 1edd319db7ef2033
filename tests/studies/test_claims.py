"""Claims: one owner at a time, the dead replaced, the robbed told."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest

from ugmm.studies import claims as module
from ugmm.studies.claims import Claims


@pytest.fixture
def claims(tmp_path):
    return Claims(tmp_path / "claims")


def never():
    raise AssertionError("the claim was not lost")


def test_one_owner_at_a_time(claims):
    with claims.holding("a", never) as first, claims.holding("a", never) as second:
        assert (first, second) == (True, False)
        assert claims.is_taken("a")
        assert not claims.is_taken("b")
    assert not claims.is_taken("a")
    with claims.holding("a", never) as again:
        assert again


def test_a_dead_process_of_this_machine_is_replaced_at_once(claims):
    code = (
        "import sys, pathlib; from ugmm.studies.claims import Claims\n"
        "held = Claims(pathlib.Path(sys.argv[1])).holding('a', print)\n"
        "held.__enter__()\n"
        "print('held', flush=True); input()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(claims.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout.readline() == "held\n"
        with claims.holding("a", never) as held:
            assert not held
        owner.kill()
        owner.wait()
        with claims.holding("a", never) as held:
            assert held


def of_another_machine(claims, age):
    path = claims.folder / "a.0"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1"}))
    then = time.time() - age
    os.utime(path, (then, then))


@pytest.mark.parametrize(("age", "free"), [(30, False), (61, True)])
def test_another_machine_is_dead_without_a_heartbeat(claims, age, free):
    of_another_machine(claims, age)
    with claims.holding("a", never) as held:
        assert held == free


def test_a_heartbeat_keeps_the_claim_and_notices_a_loss(claims, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT", 0.02)
    lost = threading.Event()
    with claims.holding("a", lost.set):
        claim = claims.folder / "a.0"
        os.utime(claim, (0, 0))  # as after a long sleep
        deadline = time.monotonic() + 5
        while not claims.is_taken("a"):
            assert time.monotonic() < deadline
        (claims.folder / "a.1").write_text("{}")
        assert lost.wait(5)


def grab(folder, start, taken):
    start.wait()
    held = Claims(folder).holding("a", never)
    if held.__enter__():
        taken.put(os.getpid())
    start.wait()  # nobody lets go before all have tried


def test_many_at_once_take_a_stale_claim_once(claims):
    of_another_machine(claims, 100)
    context = multiprocessing.get_context("spawn")
    start, taken = context.Barrier(6), context.Queue()
    processes = [
        context.Process(target=grab, args=(claims.folder, start, taken)) for _ in range(6)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert taken.get(timeout=5)
    assert taken.empty()
