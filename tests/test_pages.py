"""What the README and docs/ show is so: each block of code is run, or says why it is not."""

import re
import shlex
import subprocess
import sys

import pytest
import torch

from fences import ROOT, fences, pages
from ugmm.cli import main
from ugmm.config.compose import compose
from ugmm.config.files import list_files
from ugmm.studies.ablation.file import read_ablation

# Which test runs the blocks of a page that bear no mark.
RUN = {
    ("README.md", "python"): "tests/test_pages.py",
    ("docs/ablations.md", "yaml"): "tests/test_pages.py",
    ("docs/clusters.md", "console"): "tests/config/test_clusters_page.py",
    ("docs/clusters.md", "yaml"): "tests/config/test_clusters_page.py",
    ("docs/configuration.md", "console"): "tests/test_pages.py",
    ("docs/configuration.md", "yaml"): "tests/test_pages.py",
    ("docs/deploying.md", "console"): "tests/deploy/test_deploying_page.py",
    ("docs/deploying.md", "python"): "tests/deploy/test_deploying_page.py",
    ("docs/exporting.md", "console"): "tests/deploy/exports/test_exporting_page.py",
    ("docs/exporting.md", "python"): "tests/deploy/exports/test_exporting_page.py",
    ("docs/estimators.md", "python"): "tests/test_estimators_page.py",
    ("docs/extending.md", "console"): "tests/test_extending.py",
    ("docs/extending.md", "python"): "tests/test_extending.py",
    ("docs/installing.md", "python"): "tests/test_pages.py",
    ("docs/layer.md", "python"): "tests/test_pages.py",
    ("docs/layers.md", "python"): "tests/test_layers_page.py",
    ("docs/neurons.md", "python"): "tests/test_pages.py",
    ("docs/python.md", "console"): "tests/test_python_page.py",
    ("docs/python.md", "python"): "tests/test_python_page.py",
    ("docs/queries.md", "console"): "tests/integration/test_queries_page.py",
    ("docs/queries.md", "python"): "tests/integration/test_queries_page.py",
    ("docs/reports.md", "console"): "tests/test_reporting.py",
    ("docs/tables.md", "console"): "tests/test_tables_page.py",
    ("docs/tables.md", "python"): "tests/test_tables_page.py",
    ("docs/tables.md", "sh"): "tests/test_pages.py",
    ("docs/tables.md", "yaml"): "tests/studies/crossval/test_hidden_cells.py",
}
_COMMAND = r"^(?:\$ )?((?:ugmm|make) .*)(?=\n(.*))"
BLOCKS = [fence for page in pages() for fence in fences(page)]
COMMANDS = [
    (fence, command, following)
    for fence in BLOCKS
    if fence.language in ("console", "sh")
    for command, following in re.findall(_COMMAND, fence.text, re.MULTILINE)
]


def names_of(fence):
    return f"{fence.page}:{fence.line}"


@pytest.mark.parametrize("fence", BLOCKS, ids=names_of)
def test_a_block_is_run_or_says_why_not(fence):
    if fence.language.startswith("{"):  # a directive, which the build of the site runs
        return
    if fence.reason is None:
        test = RUN.get((fence.page, fence.language))
        assert test, "no test runs it: name the test in RUN, or mark it <!-- not run: why -->"
        assert fence.page.rpartition("/")[2] in (ROOT / test).read_text(encoding="utf-8")
    else:
        assert len(fence.reason) > 10


def test_no_claim_of_a_test_is_stale():
    unmarked = {(fence.page, fence.language) for fence in BLOCKS if fence.reason is None}
    assert set(RUN) <= unmarked


@pytest.mark.parametrize("page", ["README.md", "docs/layer.md"])
def test_the_layer_alone(page):
    (block,) = fences(page, "python")
    names = {}
    exec(block.text, names)
    assert names["scores"].shape == (256, 128)
    assert names["network"](torch.rand(2, 784)).shape == (2, 10)


def test_neurons_are_pruned_as_the_page_says():
    (block,) = fences("docs/neurons.md", "python")
    names = {}
    exec(block.text, names)
    assert f"{names['left']:,}" == "10,876"
    assert names["weighed"].shape == (128,)
    assert names["speaking"].shape == (32, 128, 784)
    assert names["scores"].isfinite().all()


def test_lightning_can_be_imported_as_installing_says():
    (block,) = fences("docs/installing.md", "python")
    command = [sys.executable, "-c", block.text]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_experiment_of_configuration_is_valid(tmp_path):
    (block,) = fences("docs/configuration.md", "yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(block.text)
    assert compose(str(path)).model.hidden == [64, 32]


def test_a_mistake_is_the_line_that_configuration_shows(capsys):
    (block,) = [b for b in fences("docs/configuration.md", "console") if "error" in b.text]
    command, line = re.fullmatch(r"\$ ugmm (.*)\n(.*)\n", block.text).groups()
    assert main(command.split()) == 1
    assert capsys.readouterr().err == line + "\n"


def test_the_files_of_ablations_are_ablations(tmp_path):
    blocks = (block.text for block in fences("docs/ablations.md", "yaml"))
    first, variants, search, families = blocks
    without_grid = re.sub(r"^(grid|baseline|folds):.*\n", "", first, flags=re.MULTILINE)
    for name, text in (
        ("first", first.replace("folds", "#")),
        ("variants", without_grid + variants),
    ):
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "search.yaml").write_text(search)
    (tmp_path / "families.yaml").write_text(families)
    found = {p.stem: read_ablation(str(p)) for p in tmp_path.glob("*.yaml")}
    assert list(found["first"].variants) == [f"model.norm={n}" for n in ("layer", "batch", "none")]
    assert list(found["variants"].variants) == ["ugmm", "wide", "mlp"]
    assert found["search"].settings.search == "optuna"
    assert list(found["families"].searches) == ["ugmm", "mlp"]


def test_the_commands_exist():
    names = {c.split()[1] for _, c, _ in COMMANDS if c.startswith("ugmm ")} - {"--version"}
    assert len(names) > 10
    for name in names:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0, name


def test_the_targets_of_make_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {c.split()[1] for _, c, _ in COMMANDS if c.startswith("make ")}
    assert "train" in named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_settings_of_trainings_are_taken():
    experiments = next(iter(list_files().values()))
    composed = 0
    for fence, command, following in COMMANDS:
        words = shlex.split(command, comments=True)
        if words[:2] != ["ugmm", "train"] or following.startswith("ugmm: error"):
            continue
        if words[2] in experiments and not any(word.startswith("-") for word in words):
            assert compose(words[2], words[3:]).experiment == words[2], names_of(fence)
            composed += 1
    assert composed > 15
