"""Start-up imports only what a command needs."""

import pkgutil
import subprocess
import sys

import pytest

import ugmm

HEAVY = {"torch", "lightning", "wandb", "matplotlib", "omegaconf", "numba", "torchvision"}


def imported(code):
    code += "; import sys; print(*sorted(m.partition('.')[0] for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", ["--help", "list", "train --help", "crossval --help"])
def test_help_and_list_are_light(command):
    code = f"""
import contextlib
from ugmm.cli import main
with contextlib.suppress(SystemExit):
    main({command.split()})
pass"""
    assert not imported(code) & HEAVY


def test_importing_the_package_is_light():
    assert not imported("import ugmm") & HEAVY


def test_the_package_lists_its_public_modules():
    names = {module.name for module in pkgutil.iter_modules(ugmm.__path__)}
    assert set(ugmm.__all__) == {name for name in names if not name.startswith("_")} | {
        "load",
        "load_task",
    }


def test_layers_need_no_experiment_packages():
    loaded = imported("import ugmm; ugmm.nn.UGMM(3, 2)")
    assert not loaded & {"lightning", "wandb", "matplotlib", "omegaconf", "torchvision", "sklearn"}


def test_composing_a_configuration_needs_no_torch():
    loaded = imported("from ugmm.config.compose import compose; compose('mnist_disc')")
    assert not loaded & {"torch", "lightning", "wandb"}


def test_comparing_runs_needs_no_torch():
    modules = "ugmm.studies.ablation.compare, ugmm.report.study.page, ugmm.report.study.plots"
    assert not imported(f"import {modules}") & {"torch", "lightning", "wandb", "pandas"}
