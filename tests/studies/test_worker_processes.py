"""Worker processes: they end with their parent, however it ends, and when it is told to stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ugmm.errors import UserError
from ugmm.studies.processes import Worker

PARENT = """
import multiprocessing, time
from ugmm.studies.processes import Worker, terminating

def work():
    print(multiprocessing.current_process().pid, flush=True)
    time.sleep(300)

if __name__ == "__main__":
    workers = []
    with terminating(workers):
        workers.append(Worker(work))
        workers[0].process.join()
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_worker_ends_with_its_parent(tmp_path, how, code):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        os.kill(worker, signal.SIGINT)  # Ctrl-C reaches the whole group; it is the parent's
        time.sleep(0.2)
        assert running(worker)
        parent.send_signal(how)
        assert parent.wait(timeout=60) == code
        deadline = time.monotonic() + 30
        while running(worker):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def fail():
    raise ImportError("libcudart.so.12:\n cannot open")


def complain():
    raise UserError("no such file")


def fill():
    raise ValueError("x" * 200_000)  # more than a pipe holds


def die(how):
    os.kill(os.getpid(), how)


@pytest.mark.parametrize(
    ("work", "arguments", "reason"),
    [
        (fail, (), "ImportError: libcudart.so.12: cannot open"),
        (fill, (), "ValueError: " + "x" * 988),
        (die, (signal.SIGKILL,), "killed from outside, as the system does where memory runs out"),
        (die, (signal.SIGTERM,), "told to stop (SIGTERM), as when another worker has taken"),
        (die, (signal.SIGSEGV,), "ended by signal 11"),
        (os._exit, (3,), "ended by exit code 3"),
        (time.sleep, (0,), None),
    ],
)
def test_a_worker_says_why_it_died(work, arguments, reason):
    worker = Worker(work, *arguments)
    worker.process.join(60)
    found = worker.describe_death()
    assert found == reason or found.startswith(reason)


def test_what_the_user_can_mend_is_an_error_of_all():
    worker = Worker(complain)
    worker.process.join(60)
    for _ in range(2):
        with pytest.raises(UserError, match=r"^no such file$"):
            worker.describe_death()


def test_a_machine_that_starts_no_process_is_one_line(monkeypatch):
    def refuse(_):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", refuse)
    with pytest.raises(UserError, match="cannot start a worker: Resource temporarily unavail"):
        Worker(time.sleep, 0)


def running(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
