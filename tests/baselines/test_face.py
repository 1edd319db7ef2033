"""The public face: light, complete, and explicit about what it does not have."""

import subprocess
import sys

import pytest

import ugmm.baselines
import ugmm.density
import ugmm.nn
import ugmm.tasks

# Not SciPy, which Numba imports where it is installed.
EXPERIMENTS = {"lightning", "matplotlib", "omegaconf", "pandas", "sklearn", "torchvision"}


def imported(*modules):
    code = (
        f"import sys, {', '.join(modules)}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_estimators_need_no_torch_before_they_are_fitted():
    assert not imported("ugmm.baselines") & {"torch", "zuko", "spflow", *EXPERIMENTS}


def test_networks_and_densities_need_no_experiment_packages():
    assert not imported("ugmm.nn", "ugmm.density") & {"zuko", "spflow", *EXPERIMENTS}


@pytest.mark.parametrize("room", [ugmm.nn, ugmm.baselines, ugmm.density, ugmm.tasks])
def test_every_name_of_the_face_is_there(room):
    assert set(room.__all__) <= set(dir(room))
    for name in room.__all__:
        assert getattr(room, name) is not None


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'Perceptron'"):
        _ = ugmm.baselines.Perceptron
    with pytest.raises(ImportError, match="Perceptron"):
        from ugmm.baselines import Perceptron  # noqa: F401
