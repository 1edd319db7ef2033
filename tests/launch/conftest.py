"""Commands of Slurm that are none: they write down what they were told, and answer as told."""

import json
import shutil
import sys

import pytest

FAKE = """#!{python}
import json, os, sys
with open("{told}", "a") as file:
    file.write(json.dumps({{"argv": sys.argv[1:], "env": dict(os.environ)}}) + "\\n")
sys.stdout.write({out!r})
sys.stderr.write({err!r})
sys.exit({code})
"""


class Commands:
    """The commands on the path of a test."""

    def __init__(self, folder):
        self.folder = folder

    def make(self, name, out="", err="", code=0):
        told = self.folder / f"{name}.told"
        path = self.folder / name
        path.write_text(FAKE.format(python=sys.executable, told=told, out=out, err=err, code=code))
        path.chmod(0o755)

    def told(self, name):
        """What a command was called with, each time: arguments and environment."""
        path = self.folder / f"{name}.told"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


@pytest.fixture
def commands(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    # Those of git are needed; those of a Slurm that is installed here must not be found.
    for name in ("git", "bash"):
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))
    return Commands(folder)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user's own folder, which is the working directory."""
    home = tmp_path / "home"
    (home / "configs" / "cluster").mkdir(parents=True)
    monkeypatch.chdir(home)
    return home
