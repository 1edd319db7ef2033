"""Declarations of choices: one source of defaults, one owner of each name."""

import inspect
import re
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import SimpleNamespace
from typing import get_type_hints

import pytest

from ugmm.baselines import BASELINES
from ugmm.config import DiscriminativeConfig, ModelConfig, choice, key
from ugmm.config.choices import CHOSEN, declared
from ugmm.config.compose import compose
from ugmm.config.merge import make_settings
from ugmm.config.schema import Config
from ugmm.config.training import OptimizerConfig, ScheduleConfig
from ugmm.errors import UserError
from ugmm.keys import bounds_of
from ugmm.studies.ablation.definition import AblationSettings
from ugmm.studies.crossval.definition import CrossValidationSettings
from ugmm.tasks.optimization import make_optimizer, make_schedule

KINDS = {kind for group in CHOSEN for kind in declared(group).values() if kind.builds}


def default_of(declared_key):
    factory = declared_key.default_factory
    return declared_key.default if factory is MISSING else factory()


def plain(value):
    return list(value) if isinstance(value, tuple) else value


def differences(kind, parameters):
    """The keys that a callable does not take, or takes by another default."""
    passed = [f for f in fields(kind) if f.name != "name" and f.metadata.get("passed", True)]
    for f in passed:
        parameter = parameters.get(f.name)
        if parameter is None:
            yield f.name, "is no argument"
        elif parameter.default is not inspect.Parameter.empty:
            own, theirs = plain(default_of(f)), plain(parameter.default)
            if own != theirs:
                yield f.name, own, theirs


@pytest.mark.parametrize("kind", sorted(KINDS, key=str), ids=lambda kind: kind.__name__)
def test_keys_are_the_arguments_of_what_is_built_with_the_same_defaults(kind):
    if kind.group == "task":
        pytest.skip("a task hands its keys to its loss")
    instance = kind(name=kind.__dataclass_fields__["name"].default)
    assert not list(differences(kind, inspect.signature(instance.imported()).parameters))


@pytest.mark.parametrize(
    ("kind", "function"), [(OptimizerConfig, make_optimizer), (ScheduleConfig, make_schedule)]
)
def test_so_are_those_of_the_optimiser_and_its_schedule(kind, function):
    assert not list(differences(kind, inspect.signature(function).parameters))


def test_a_name_is_declared_once():
    with pytest.raises(UserError, match=r"declares model=ugmm, as ugmm\.config\.choices\.models"):

        @choice("model", "ugmm", builds=dict)
        class Mine(ModelConfig):
            depth: int = key(2)

    assert declared("model")["ugmm"].__name__ == "UGMMConfig"


def test_what_is_needed_and_missing_is_one_line():
    @choice("model", "from_nowhere", builds="nowhere:Network", needs="nowhere>=1.2,<2")
    class FromNowhere(ModelConfig):
        pass

    with pytest.raises(UserError, match=r"model=from_nowhere needs nowhere; .*'nowhere>=1\.2,<2'"):
        FromNowhere().build(2, 3)


def numbers_of(schema):
    """The names of keys that hold a number, with those of sections within."""
    hints = get_type_hints(schema)
    for field in fields(schema):
        if is_dataclass(hints[field.name]):
            yield from numbers_of(hints[field.name])
        elif re.search(r"\b(int|float)\b", str(hints[field.name])):
            yield schema, field


SCHEMAS = [
    Config, AblationSettings, CrossValidationSettings, *BASELINES.values(),
    *(kind for group in CHOSEN for kind in declared(group).values()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "field"),
    dict.fromkeys(pair for schema in SCHEMAS for pair in numbers_of(schema)),
    ids=lambda of: getattr(of, "__name__", None) or of.name,
)
def test_every_number_has_bounds(schema, field):
    """Beyond them lies what no machine can hold, or no training can use."""
    bounds = bounds_of(field)
    if field.name != "devices":  # at least one, but named from 0 up: its declaration checks it
        assert bounds.keys() & {"low", "above"}, f"{schema}.{field.name} has no least value"
    assert bounds.keys() & {"high", "below"}, f"{schema}.{field.name} has no greatest value"


@pytest.mark.parametrize(
    ("number", "bounds"),
    [
        (0, "at least 1"),
        (10**19, "at least 1 and at most 9.223372037e+18"),
        (-(10**19), "at least 1"),
    ],
)
def test_a_number_that_no_library_takes_is_told_so(number, bounds):
    @dataclass
    class Mine:
        depth: int = key(2, low=1)

    with pytest.raises(UserError, match=rf"^mine: depth={number} must be {re.escape(bounds)}$"):
        make_settings(Mine, {"depth": number}, "mine")


def test_an_objective_that_knows_no_weights_is_named():
    class Plain(DiscriminativeConfig):
        def make_objective(self):
            return SimpleNamespace(of_scores=lambda scores, y: scores[y])

    config = compose("iris_disc")
    Plain(name="plain").check_with(config)
    with pytest.raises(UserError, match=r"SimpleNamespace\.of_scores takes no weights"):
        Plain(name="plain", class_weights="balanced").check_with(config)
