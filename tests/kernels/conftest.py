"""What the tests of both Triton kernels share."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def without_interpreter(tmp_path):
    """Run a script of this folder in a process in which Triton compiles."""

    def run(script, *arguments):
        environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
        subprocess.run(command, check=True, timeout=300, env=environment)

    return run


@pytest.fixture
def compile_ahead_of_time(without_interpreter):
    """Compile an operation's kernels for GPUs."""
    return functools.partial(without_interpreter, "ahead_of_time.py")
