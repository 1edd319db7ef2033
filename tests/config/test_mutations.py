"""Shipped files with faults made on purpose: each is one line, or a valid configuration."""

from pathlib import Path

import pytest
from mutations import mutations

from ugmm.cli import main
from ugmm.config.compose import compose
from ugmm.config.frozen import from_yaml, to_yaml
from ugmm.errors import UserError
from ugmm.studies.ablation.file import read_ablation
from ugmm.studies.crossval.definition import read_crossvalidation

ROOT = Path(__file__).parents[2]
FOLDERS = (
    "configs/model",
    "configs/task",
    "experiments",
    "experiments/ablations",
    "experiments/crossval",
)
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.yaml"))]
# An experiment that goes with each file of configs/.
WITH = {
    "ugmm": "iris_disc",
    "ugmm_paper": "iris_disc",
    "likelihood": "mnist_gen",
    "score": "iris_paper",
}


def read(path):
    """Read a file as the command that it is for; return a configuration that is made of it."""
    kind = path.parent.name
    if kind == "ablations":
        study = read_ablation(str(path))
        return study.goal and study.compose_first().resolve()
    if kind == "crossval":
        return read_crossvalidation(str(path)) and None
    if kind == "experiments":
        return compose(str(path))
    return compose(WITH[path.stem], [f"{kind}={path.stem}"], root=path.parents[2])


def check(folder, n, first=0):
    """Read damaged files; return how many are valid all the same, and how many are not."""
    texts, valid, lines = [path.read_text(encoding="utf-8") for path in FILES], 0, []
    for seed, place, text in mutations(texts, n, first):
        path = folder / FILES[place].relative_to(ROOT)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        try:
            config = read(path)
            assert config is None or from_yaml(to_yaml(config), "frozen") == config, seed
            valid += 1
        except UserError as error:
            lines.append(str(error))
        except BaseException as error:
            error.add_note(f"mutation {seed} of {FILES[place]}:\n{text}")
            raise
        finally:
            path.unlink()
    assert all(line.isprintable() and len(line) < 2010 for line in lines)
    return valid, len(lines)


def test_damage_is_one_line_or_a_valid_configuration(tmp_path):
    assert min(check(tmp_path, 300)) > 20


@pytest.mark.slow
def test_much_damage_is_too(tmp_path):
    assert min(check(tmp_path, 3000, first=300)) > 200


@pytest.mark.slow
def test_damaged_experiments_run_or_say_why_not(tmp_path, monkeypatch, capsys):
    """By the command: exit code 1 and one line, or a run of one batch."""
    monkeypatch.chdir(tmp_path)
    names = ("iris_disc", "iris_gen", "iris_paper", "iris_gmm")
    texts = [(ROOT / f"experiments/{name}.yaml").read_text(encoding="utf-8") for name in names]
    quick = ["trainer.fast_dev_run=true", "trainer.accelerator=cpu", "tracking.mode=disabled"]
    ended = {0: 0, 1: 0}
    for seed, _, text in mutations(texts, 300):
        Path("mine.yaml").write_bytes(text.encode())
        code = main(["train", "mine.yaml", *quick, f"runs_dir={tmp_path}/runs"])
        errors = capsys.readouterr().err
        ended[code] += 1
        if code:
            line = errors.splitlines()[-1]
            assert line.startswith("ugmm: error: "), (seed, errors)
            assert "Traceback" not in errors, (seed, errors)
    assert min(ended.values()) > 20
