"""What the README shows is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ugmm.cli import main
from ugmm.config.compose import compose

CLONE = Path(__file__).parents[1]
README = (CLONE / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_layer_alone():
    (code,) = [block for block in blocks("python") if "UGMM(784" in block]
    names = {}
    exec(code, names)
    assert names["scores"].shape == (256, 128)
    assert names["network"](torch.rand(2, 784)).shape == (2, 10)


def test_lightning_can_be_imported_as_it_says():
    (code,) = [block for block in blocks("python") if "import lightning" in block]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_experiment_is_valid(tmp_path):
    (text,) = blocks("yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert compose(str(path)).model.hidden == [64, 32]


def test_a_mistake_is_the_line_that_is_shown(capsys):
    command, line = re.search(
        r"\$ ugmm (train mnist_disc model\.dropot=.*)\n(.*)\n", README
    ).groups()
    assert main(command.split()) == 1
    assert capsys.readouterr().err == line + "\n"


def test_the_commands_exist():
    for command in re.findall(r"^\$ ugmm (\w+)", README, re.MULTILINE):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0, command
    makefile = (CLONE / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^\$ make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_files_exist():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        path, _, heading = target.partition("#")
        found = CLONE / path if path else CLONE / "README.md"
        assert found.exists(), target
        if heading:
            text = found.read_text(encoding="utf-8")
            assert f"\n## {heading.capitalize().replace('-', ' ')}\n" in text, target


@pytest.mark.parametrize(
    ("target", "asks"),
    [
        ("eval", "make eval RUN="),
        ("report", "make report RUN="),
        ("ablate", "make ablate EXP="),
        ("compare", "make compare EXP="),
        ("crossval", "make crossval EXP="),
        ("dashboard", "make dashboard EXP="),
        ("eval RUN=runs/a", None),
        ("report RUN=runs/a", None),
        ("ablate EXP=mnist_norm", None),
        ("train", None),
        ("launch CLUSTER=slurm", None),
    ],
)
def test_make_asks_for_what_it_needs_before_it_installs(target, asks):
    command = ["make", "--dry-run", *target.split()]
    done = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, check=False)
    if asks is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 2
        assert asks in done.stderr
