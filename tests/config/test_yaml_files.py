"""One's own experiments and settings come first, file by file, then those that are shipped."""

from pathlib import Path

import pytest

import ugmm
from ugmm.cli import main
from ugmm.config.compose import compose
from ugmm.config.files import project_root, yaml_files
from ugmm.errors import UserError
from ugmm.studies.ablation.file import read_ablation
from ugmm.studies.crossval.definition import read_crossvalidation

CLONE = Path(__file__).parents[2]
PACKAGE = Path(ugmm.__file__).parent
IS_INSTALLED = (PACKAGE / "shipped").is_dir()  # by a wheel, and not from the clone
SHIPPED = PACKAGE / "shipped" if IS_INSTALLED else CLONE
MINE = "# What I try\ndefaults: {data: iris, model: ugmm, task: discriminative}\nseed: 7\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Start in an empty folder, and write files below it."""
    monkeypatch.chdir(tmp_path)

    def write(path, text):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)

    return write


@pytest.mark.usefixtures("write")
def test_an_empty_folder_has_what_is_shipped():
    assert compose("iris_disc").data.name == "iris"
    for folder in ("experiments", "experiments/ablations", "configs/model"):
        shipped = sorted((SHIPPED / folder).glob("*.yaml"))
        assert list(yaml_files(folder).values()) == shipped
    assert read_ablation("mnist_norm").path == SHIPPED / "experiments/ablations/mnist_norm.yaml"
    assert read_crossvalidation("iris").name == "iris"


def test_one_experiment_of_ones_own_is_enough(write, capsys):
    write("experiments/mine.yaml", MINE)
    assert compose("mine").seed == 7
    assert main(["list"]) == 0
    experiments, ablations, crossvalidations = capsys.readouterr().out.split("\n\n")
    lines = dict(line.split(maxsplit=1) for line in experiments.splitlines()[1:])
    assert lines["mine"] == "What I try"
    assert lines["iris_disc"] == "Iris, discriminative"
    assert set(lines) == {"mine"} | {p.stem for p in (CLONE / "experiments").glob("*.yaml")}
    assert ablations.startswith("ablations, each run by: ugmm ablate NAME\n")
    assert "  mnist_norm " in ablations
    assert crossvalidations.startswith("cross-validations, each run by: ugmm crossval NAME\n")
    assert "  wine " in crossvalidations


@pytest.mark.parametrize(
    ("command", "name", "kind"),
    [
        ("train", "mnist_norm", "an ablation and not an experiment; run it with: ugmm ablate"),
        ("show", "wine", "a cross-validation and not an experiment; run it with: ugmm crossval"),
        ("ablate", "iris_disc", "an experiment and not an ablation; run it with: ugmm train"),
        ("compare", "wine", "a cross-validation and not an ablation; run it with: ugmm crossval"),
        ("crossval", "mnist_norm", "an ablation and not a cross-validation; run it with: ugmm"),
        ("train", "own_ablation.yaml", "an ablation and not an experiment; run it with: ugmm"),
        ("ablate", "experiments/own.yaml", "an experiment and not an ablation; run it with: ugmm"),
        ("ablate", "own_crossval.yaml", "a cross-validation and not an ablation; run it with: "),
    ],
)
def test_what_is_run_by_another_command_says_so(write, capsys, command, name, kind):
    write("experiments/own.yaml", MINE)
    write("own_ablation.yaml", "experiment: iris_disc\ngrid: {optimizer.lr: [1, 2]}\n")
    write("own_crossval.yaml", "data: iris\nmodels: {lda: {baseline: lda}}\n")
    assert main([command, name]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"ugmm: error: {name} is {kind}")
    assert error.endswith(f" {name}\n")


def test_ones_own_come_first_file_by_file(write):
    write("experiments/iris_disc.yaml", MINE)
    write("configs/model/ugmm.yaml", "name: ugmm\nhidden: [3]\n")
    write("configs/model/tiny.yaml", "name: mlp\nhidden: [2]\n")
    config = compose("iris_disc")
    assert (config.seed, config.model.hidden) == (7, [3])
    assert compose("iris_disc", ["model=tiny"]).model.hidden == [2]
    assert compose("iris_gen").experiment == "iris_gen"
    assert yaml_files("experiments")["iris_disc"] == Path("experiments/iris_disc.yaml")


def test_they_are_found_from_a_folder_below(write, monkeypatch):
    write("experiments/mine.yaml", MINE)
    Path("a/b").mkdir(parents=True)
    monkeypatch.chdir("a/b")
    assert yaml_files("experiments")["mine"] == Path("../../experiments/mine.yaml")


def test_the_nearest_folder_that_has_either_is_ones_own(write, monkeypatch):
    write("experiments/mine.yaml", MINE)
    write("a/configs/model/tiny.yaml", "name: mlp\n")
    monkeypatch.chdir("a")
    assert "mine" not in yaml_files("experiments")
    assert "tiny" in yaml_files("configs/model")


def test_studies_of_ones_own(write):
    write("experiments/mine.yaml", MINE)
    study = "experiment: {}\nvariants: {{plain: {{}}, other: {{seed: 3}}}}\n"
    write("experiments/ablations/ours.yaml", study.format("mine"))
    write("experiments/ablations/theirs.yaml", study.format("iris_disc"))
    write("experiments/crossval/wine.yaml", "data: iris\nmodels: {mine: {experiment: mine}}\n")
    for name in ("ours", "theirs"):
        assert read_ablation(name).path == Path(f"experiments/ablations/{name}.yaml")
        assert list(read_ablation(name).variants) == ["plain", "other"]
    assert list(read_crossvalidation("wine").models) == ["mine"]
    assert len(read_crossvalidation("iris").models) > 1


def test_mistakes_name_the_nearest_of_both(write):
    write("experiments/iris_dise.yaml", MINE)
    write("configs/model/ugmmm.yaml", "name: ugmm\n")
    with pytest.raises(UserError, match="unknown experiment 'iris_dis'; did you mean ") as error:
        compose("iris_dis")
    assert {"iris_disc", "iris_dise"} <= set(str(error.value).rstrip("?").split())
    with pytest.raises(UserError, match="unknown choice model=ugm; did you mean ") as error:
        compose("iris_disc", ["model=ugm"])
    assert {"ugmm", "ugmmm"} <= set(str(error.value).rstrip("?").split())


def test_a_mistake_in_a_file_names_it_as_it_is_seen_from_here(write):
    write("experiments/mine.yaml", MINE + "sed: 3\n")
    with pytest.raises(UserError, match=r"^experiments/mine\.yaml: unknown key 'sed'"):
        compose("mine")


@pytest.mark.skipif(IS_INSTALLED, reason="there is no clone; see test_installed.py")
def test_results_are_published_in_ones_own_folder_or_the_clone(write):
    assert project_root() == CLONE
    write("configs/model/tiny.yaml", "name: mlp\n")
    assert project_root() == CLONE
    write("experiments/mine.yaml", MINE)
    assert project_root().resolve() == Path.cwd()


def test_what_cannot_be_read_is_listed_and_said_when_it_is_used(write, capsys):
    write("experiments/mine.yaml", MINE)
    write("experiments/folder.yaml/x", "")
    Path("experiments/bytes.yaml").write_bytes(b"# \xff\n\xfe")
    assert main(["list"]) == 0
    assert {"mine", "folder", "bytes"} <= {
        line.split()[0] for line in capsys.readouterr().out.splitlines() if line
    }
    for name, said in (
        ("folder", "cannot read experiments/folder.yaml: Is a directory"),
        ("bytes", "experiments/bytes.yaml is not a text file"),
        (f"{'a' * 3000}.yaml", "no such file: aaa"),
        ("a" * 3000, "unknown experiment 'aaa"),
    ):
        assert main(["show", name]) == 1
        line = capsys.readouterr().err
        assert said in line
        assert line.count("\n") == 1
        assert len(line) < 2030
