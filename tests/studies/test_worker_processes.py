"""Worker processes: they end with their parent, however it ends, and when it is told to stop."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import multiprocessing, time
from ugmm.studies.processes import end_with_parent, terminating

def work():
    end_with_parent()
    print(multiprocessing.current_process().pid, flush=True)
    time.sleep(300)

if __name__ == "__main__":
    workers = []
    with terminating(workers):
        workers.append(multiprocessing.get_context("spawn").Process(target=work))
        workers[0].start()
        workers[0].join()
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
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


def running(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
