"""Claims: one owner at a time, the dead replaced, the robbed told."""

import errno
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from ugmm.cluster.owners import this_process
from ugmm.errors import UserError
from ugmm.studies import claims as module
from ugmm.studies.claims import Claims

HOLD = (
    "import sys, pathlib; from ugmm.studies.claims import Claims\n"
    "held = Claims(pathlib.Path(sys.argv[1])).holding('a', print)\n"
    "print(held.__enter__(), flush=True); input()"
)


@pytest.fixture
def claims(tmp_path):
    return Claims(tmp_path / "claims")


def never():
    raise AssertionError("the claim was not lost")


def test_one_owner_at_a_time(claims):
    with claims.holding("a", never) as first, claims.holding("a", never) as second:
        assert (first, second) == (True, False)
        assert "a" in claims.find_taken()
        assert "b" not in claims.find_taken()
    assert "a" not in claims.find_taken()
    with claims.holding("a", never) as again:
        assert again


def test_a_dead_process_of_this_machine_is_replaced_at_once(claims):
    owner = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(claims.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout.readline() == "True\n"
        with claims.holding("a", never) as held:
            assert not held
        owner.kill()
        owner.wait()
        with claims.holding("a", never) as held:
            assert held


def left_behind(claims, text, age):
    claims.folder.mkdir(exist_ok=True)
    path = claims.folder / "a.0"
    path.write_text(text)
    then = time.time() - age
    os.utime(path, (then, then))


def of_another_machine(claims, age):
    owner = replace(this_process(), host="elsewhere", started="1")
    left_behind(claims, owner.to_json(), age)


@pytest.mark.parametrize(("age", "free"), [(30, False), (61, True)])
def test_another_machine_is_dead_without_a_heartbeat(claims, age, free):
    of_another_machine(claims, age)
    with claims.holding("a", never) as held:
        assert held == free


@pytest.mark.parametrize("text", ["", "{", "5", "null", "{}", '{"host": 1}', "\x00\xff"])
@pytest.mark.parametrize(("age", "free"), [(30, False), (61, True)])
def test_a_torn_claim_is_somebodys_while_it_is_fresh(claims, text, age, free):
    left_behind(claims, text, age)
    with claims.holding("a", never) as held:
        assert held == free


def test_a_folder_in_place_of_a_claim_does_no_harm(claims):
    (claims.folder / "a.0").mkdir(parents=True)
    (claims.folder / "a.x").mkdir()
    assert "a" in claims.find_taken()
    os.utime(claims.folder / "a.0", (0, 0))
    with claims.holding("a", never) as held:
        assert held


def test_a_file_system_without_links_will_do(claims, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with claims.holding("a", never) as first, claims.holding("a", never) as second:
        assert (first, second) == (True, False)


def test_a_claim_that_cannot_be_written_is_nobodys(claims, monkeypatch):
    class Full:
        def to_json(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "this_process", Full)
        with (
            pytest.raises(UserError, match=r"a.0: the disk is full; free"),
            claims.holding("a", never),
        ):
            pass
    assert "a" not in claims.find_taken()


NAMESPACE = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc"]


@pytest.fixture
def in_a_namespace(claims):
    """Start claimants, each in a namespace of process numbers of its own."""
    try:
        subprocess.run([*NAMESPACE, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("namespaces are not permitted here")
    with ExitStack() as stack:

        def start():
            command = [*NAMESPACE, "--kill-child", sys.executable, "-c", HOLD, str(claims.folder)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            return stack.enter_context(subprocess.Popen(command, **pipes))

        yield start


def test_a_pid_of_another_namespace_says_nothing(claims, in_a_namespace):
    """Both claimants are process 1 of one host name, and neither sees the other."""
    first = in_a_namespace()
    assert first.stdout.readline() == "True\n"
    second = in_a_namespace()
    assert second.stdout.readline() == "False\n"
    assert "a" in claims.find_taken()
    first.kill()
    first.wait()
    assert "a" in claims.find_taken()  # for a minute: nobody here can know
    os.utime(claims.folder / "a.0", (0, 0))
    assert "a" not in claims.find_taken()


def test_a_heartbeat_keeps_the_claim_and_notices_a_loss(claims, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT", 0.02)
    lost = threading.Event()
    with claims.holding("a", lost.set):
        claim = claims.folder / "a.0"
        os.utime(claim, (0, 0))  # as after a long sleep
        deadline = time.monotonic() + 5
        while "a" not in claims.find_taken():
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
