"""How many CPUs are a process's own."""

import os
import subprocess
import sys

from ugmm.cluster.cpus import count_cpus


def test_those_it_is_bound_to():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    code += "from ugmm.cluster.cpus import count_cpus; print(count_cpus())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_those_that_slurm_gave_it_though_it_is_bound_to_none(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert count_cpus() == 64
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "6")
    assert count_cpus() == 6
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "128")
    assert count_cpus() == 64
