"""What the tests of both Triton kernels share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def compile_ahead_of_time(tmp_path):
    """Compile an operation's kernels for GPUs, in a process that has no interpreter."""

    def run(operation):
        environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, str(Path(__file__).with_name("ahead_of_time.py")), operation]
        subprocess.run(command, check=True, timeout=300, env=environment)

    return run
