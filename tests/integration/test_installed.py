"""What is built and installed works in any folder, and says which extra is missing."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from ugmm import __version__
from ugmm.cli import EXTRAS

CLONE = Path(__file__).parents[2]
YAML = {
    p.relative_to(CLONE)
    for top in ("configs", "experiments")
    for p in CLONE.glob(f"{top}/**/*.yaml")
}
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "src", "configs", "experiments")
MINE = "# What I try\ndefaults: {data: iris, model: ugmm, task: discriminative}\nseed: 7\n"


def run(folder, command, code=0, **environment):
    """Run a command in a folder, where nothing leads back to this clone; return what it prints."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**inherited, "WANDB_MODE": "disabled", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def build(kind, sources, folder):
    """Build a wheel, an editable wheel or an sdist, as pip does without a network."""
    script = f"import setuptools.build_meta as b; b.build_{kind}({str(folder)!r})"
    run(sources, [sys.executable, "-c", script])
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of what a build reads, since a build leaves files beside its sources."""
    folder = tmp_path_factory.mktemp("clone")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        if (CLONE / name).is_dir():
            shutil.copytree(CLONE / name, folder / name, ignore=ignored)
        else:
            shutil.copy(CLONE / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    return build("wheel", sources, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


def test_a_wheel_holds_every_yaml_and_module(unpacked):
    shipped = unpacked / "ugmm" / "shipped"
    assert {p.relative_to(shipped) for p in shipped.rglob("*") if p.is_file()} == YAML
    for path in YAML:
        assert (shipped / path).read_bytes() == (CLONE / path).read_bytes()
    modules = {p.relative_to(CLONE / "src") for p in (CLONE / "src").rglob("*.py")}
    assert {p.relative_to(unpacked) for p in unpacked.rglob("*.py")} == modules


def test_a_source_archive_makes_the_same_wheel(sources, wheel, tmp_path):
    for name in ("sdist", "sources", "wheel"):
        (tmp_path / name).mkdir()
    with tarfile.open(build("sdist", sources, tmp_path / "sdist")) as file:
        file.extractall(tmp_path / "sources", filter="data")
    (archived,) = (tmp_path / "sources").iterdir()
    again = build("wheel", archived, tmp_path / "wheel")
    names = [sorted(zipfile.ZipFile(path).namelist()) for path in (wheel, again)]
    assert names[0] == names[1]


@pytest.mark.skipif(not (CLONE / ".git").exists(), reason="git tells what there is to hold")
def test_a_source_archive_holds_what_git_does(tmp_path):
    """So that its tests can be run, and its pages read."""
    names = subprocess.check_output(["git", "-C", str(CLONE), "ls-files"], text=True).splitlines()
    sources, archives = tmp_path / "sources", tmp_path / "sdist"
    archives.mkdir()
    for name in names:
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CLONE / name, sources / name)
    with tarfile.open(build("sdist", sources, archives)) as file:
        held = {member.name.partition("/")[2] for member in file if member.isfile()}
    assert set(names) <= held
    made = {name for name in held - set(names) if ".egg-info/" not in name}
    assert made == {"PKG-INFO", "setup.cfg"}


def test_a_build_forgets_what_an_earlier_one_left(sources, tmp_path):
    left = sources / "build" / "lib" / "ugmm" / "shipped" / "experiments" / "formerly.yaml"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.touch()
    with zipfile.ZipFile(build("wheel", sources, tmp_path)) as file:
        assert not [name for name in file.namelist() if "formerly" in name]


def test_an_editable_install_is_a_path_to_the_clone(sources, tmp_path):
    """And no import hook, which editors and mypy cannot follow; its YAML is the clone's own."""
    with zipfile.ZipFile(build("editable", sources, tmp_path)) as file:
        (path,) = [name for name in file.namelist() if name.endswith(".pth")]
        assert file.read(path).decode().split() == [str(sources / "src")]
        assert not [name for name in file.namelist() if name.endswith((".yaml", ".py"))]
    (tmp_path / "empty").mkdir()
    (sources / "experiments" / "mine.yaml").write_text(MINE)
    command = [sys.executable, "-m", "ugmm", "list"]
    try:
        listed = run(tmp_path / "empty", command, PYTHONPATH=str(sources / "src"))
    finally:
        (sources / "experiments" / "mine.yaml").unlink()
    assert "mine  " in listed
    assert "iris_disc  " in listed


def test_what_is_installed_needs_no_clone(unpacked, tmp_path):
    def ugmm(*arguments, code=0):
        command = [sys.executable, "-m", "ugmm", *arguments]
        return run(tmp_path, command, code, PYTHONPATH=str(unpacked))

    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.yaml").write_text(MINE)
    names = [line.split()[0] for line in ugmm("list").splitlines() if line.startswith("  ")]
    shipped = [path.stem for path in YAML if path.parts[0] == "experiments"]
    assert sorted(names) == sorted(["mine", *shipped])
    assert "seed: 7" in ugmm("show", "mine")
    assert "planned" in ugmm("ablate", "mnist_norm", "--dry-run")
    assert "unknown experiment 'mnie'; did you mean mine" in ugmm("show", "mnie", code=1)


def test_results_are_published_in_a_clone_or_a_folder_of_ones_own(unpacked, tmp_path):
    code = "from ugmm.config.files import project_root; print(project_root())"
    command = [sys.executable, "-c", code]
    assert "make that folder, or start in a clone" in run(
        tmp_path, command, 1, PYTHONPATH=str(unpacked)
    )
    (tmp_path / "experiments").mkdir()
    assert run(tmp_path, command, PYTHONPATH=str(unpacked)) == ".\n"


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """An environment with the wheel; the other packages are those of the running one."""
    environment = tmp_path_factory.mktemp("installed") / "environment"
    install = CLONE / ".ci" / "install-wheel"
    run(environment.parent, [install, environment, wheel, sys.executable])
    return environment


@pytest.mark.slow
def test_a_wheel_in_an_empty_environment_and_an_empty_folder(environment, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    python, ugmm = environment / "bin" / "python", environment / "bin" / "ugmm"
    where = run(folder, [python, "-c", "import ugmm; print(ugmm.__file__)"]).strip()
    assert Path(where).is_relative_to(environment)
    assert run(folder, [ugmm, "--version"]) == f"ugmm {__version__}\n"
    assert "iris_disc  " in run(folder, [ugmm, "list"])
    short = ("trainer.max_epochs=2", "trainer.check_val_every_n_epoch=1")
    assert "run folder: runs/iris_disc/" in run(folder, [ugmm, "train", "iris_disc", *short])
    (folder / "mine.yaml").write_text(MINE)
    assert "run folder: runs/mine/" in run(folder, [ugmm, "train", "mine.yaml", *short])
    for name in ("iris_disc", "mine"):
        assert len(list(folder.glob(f"runs/{name}/*/summary.json"))) == 1


SERVED = """
import csv, sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ugmm", "torch", "onnx", "onnxscript"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Without())
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
with open("new.csv", newline="") as file:
    rows = list(csv.DictReader(file))
columns = {
    each.name: np.array(
        [row[each.name] for row in rows],
        dtype=np.float64 if each.type == "tensor(double)" else object,
    )
    for each in session.get_inputs()
}
labels, probabilities = session.run(["label", "probabilities"], columns)
for label, each in zip(labels, probabilities):
    print(label, *each)
"""


@pytest.mark.slow
def test_from_a_table_to_a_process_that_has_onnxruntime_alone(environment, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    python, ugmm = environment / "bin" / "python", environment / "bin" / "ugmm"
    lines = [f"{i % 7 + i / 9},{20 + i % 40},{('red', 'blue')[i % 3 > 1]}" for i in range(90)]
    kinds = [("yes", "no")[i % 3 > 1 or i % 7 > 4] for i in range(90)]
    seen = [f"{line},{kind}" for line, kind in zip(lines, kinds, strict=True)]
    (folder / "seen.csv").write_text("\n".join(["width,age,colour,bought", *seen[:70]]) + "\n")
    (folder / "new.csv").write_text("\n".join(["width,age,colour", *lines[70:]]) + "\n")
    data = ("data=csv", "data.path=seen.csv", "data.label=bought", "trainer.max_epochs=20")
    run(folder, [ugmm, "train", "iris_disc", *data, "runs_dir=runs"])
    (trained,) = folder.glob("runs/*/*")
    run(folder, [ugmm, "predict", trained, "new.csv", "--out", "answers.csv"])
    said = run(folder, [ugmm, "export", trained, "--to", "onnx", "--out", "model.onnx"])
    assert "answers differ by" in said
    expected = [line.split(",") for line in (folder / "answers.csv").read_text().split()]
    (folder / "serve.py").write_text(SERVED)
    found = [line.split() for line in run(folder, [python, "serve.py"]).splitlines()]
    assert expected[0] == ["prediction", "p(no)", "p(yes)"]
    assert len(found) == 20
    for answer, (label, *probabilities) in zip(expected[1:], found, strict=True):
        assert answer[0] == label
        shown = [float(each) for each in answer[1:]]
        assert shown == pytest.approx(list(map(float, probabilities)), abs=1e-5)


BLOCK = """
import sys
from importlib.abc import MetaPathFinder

from ugmm.cli import main

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
for command in {commands!r}:
    print(main(command.split()), file=sys.stderr)
"""
ALL = {name for names in EXTRAS.values() for name in names}


def without(missing, *commands):
    """Run commands where packages are missing; return the lines that they print."""
    code = BLOCK.format(missing=set(missing), commands=commands)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.splitlines()


def test_without_the_extras_a_line_says_what_to_install(tmp_path):
    commands = (
        "train iris_disc",
        f"train --resume {tmp_path}",
        f"eval {tmp_path}",
        "crossval iris",
        "ablate mnist_norm",
        "compare mnist_norm",
        "dashboard mnist_norm",
        f"sync {tmp_path}",
        "show iris_disc",
    )
    # A run folder is only looked into by commands that have what they need for that.
    (tmp_path / "config.yaml").touch()
    code, lines = without(ALL, "list", *commands)
    assert code == 0
    assert lines[0] == "0"  # `ugmm list` needs none of them
    assert lines[2::2] == ["1"] * len(commands)
    line = re.compile(r"ugmm: error: the package (\w+) is missing; install ugmm\[experiments\]")
    for said in lines[1::2]:
        assert line.fullmatch(said), said
        assert line.fullmatch(said)[1] in EXTRAS["experiments"]


@pytest.mark.parametrize("missing", ["lightning"])
def test_a_package_that_is_found_missing_after_composing(missing):
    expected = f"ugmm: error: the package {missing} is missing; install ugmm[experiments]"
    assert without({missing}, "train iris_disc") == (0, [expected, "1"])


def test_a_bug_keeps_its_traceback():
    """A module of ours that is missing is nothing that a user could install."""
    code, lines = without({"ugmm.config.compose"}, "show iris_disc")
    assert code == 1
    assert lines[0].startswith("Traceback")
    assert lines[-1] == "ModuleNotFoundError: No module named 'ugmm.config.compose'"


def test_the_extras_are_those_that_are_declared():
    text = (CLONE / "pyproject.toml").read_text(encoding="utf-8")
    declared = tomllib.loads(text)["project"]["optional-dependencies"]
    provided = packages_distributions()
    for extra, names in EXTRAS.items():
        packages = {re.match(r"[\w-]+", line)[0] for line in declared[extra]} - {"ugmm"}
        assert len(names) == len(packages)
        for name in names:
            distributions = {d.lower().replace("_", "-") for d in provided[name]}
            assert distributions & packages, name
