"""What `make release` refuses, before it builds anything."""

import shutil
import subprocess
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[1]
FILES = {
    "src/ugmm/__init__.py": '__version__ = "1.2.3"\n',
    "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-31\n",
    "CITATION.cff": "version: 1.2.3\n",
    "Makefile": "dist:\n\t@echo building; exit 7\n",
}


def git(folder, *arguments):
    who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
    command = ["git", *who, "-c", "commit.gpgsign=false", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def repository(tmp_path):
    """One that could be released, up to its Makefile's `dist`."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / ".ci").mkdir()
    shutil.copy(CLONE / ".ci" / "release", tmp_path / ".ci")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def commit(repository):
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "A commit")


def release(repository):
    command = [repository / ".ci" / "release", ".venv"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done


def test_what_is_ready_is_built_before_it_is_tagged(repository):
    done = release(repository)
    assert done.stdout == "building\n"
    assert git(repository, "tag") == ""


def test_changes_that_are_not_committed(repository):
    (repository / "new.txt").touch()
    assert release(repository).stderr.startswith("release: the tree has changes")


def test_a_version_that_is_tagged(repository):
    git(repository, "tag", "v1.2.3")
    assert release(repository).stderr.startswith("release: v1.2.3 is tagged already")


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("CHANGELOG.md", "## [1.2.3]\n", "CHANGELOG.md has no heading '## [1.2.3] - "),
        ("CHANGELOG.md", "## [1.2.30] - 2026-01-31\n", "CHANGELOG.md has no heading"),
        ("CITATION.cff", "version: 1.2.30\n", "CITATION.cff is of another version"),
        ("src/ugmm/__init__.py", "\n", "src/ugmm/__init__.py says no __version__"),
    ],
)
def test_files_that_tell_another_version(repository, file, text, said):
    (repository / file).write_text(text)
    commit(repository)
    done = release(repository)
    assert done.stderr.startswith(f"release: {said}")
    assert done.stdout == ""
