"""The table of metrics, and that whoever names one agrees with it."""

from typing import get_args, get_type_hints

import pytest

from ugmm import metrics
from ugmm.baselines import BernoulliMixture
from ugmm.config.training import TrainerConfig
from ugmm.nn import RegressionNetwork, UGMMNetwork
from ugmm.objectives import Likelihood, NegativeScore
from ugmm.tasks import DiscriminativeTask, FittedTask, GenerativeTask, RegressionTask


def test_names_differ():
    names = [metric.name for metric in metrics.METRICS]
    assert len(set(names)) == len(names)


def test_a_checkpoint_is_chosen_by_what_a_validation_measures():
    choices = get_args(get_type_hints(TrainerConfig)["monitor"])
    ranked = [metric for metric in metrics.VALIDATED if metric.goal]
    assert choices == tuple(f"val/{metric.name}" for metric in ranked)
    assert {metric.name for metric in metrics.VALIDATED if not metric.goal} == {"coverage_90"}


def test_validations_measure_what_is_marked_as_validated():
    network = UGMMNetwork([4, 3])
    tasks = [
        DiscriminativeTask(network, 3),
        GenerativeTask(network, 3, objective=NegativeScore()),
        GenerativeTask(BernoulliMixture(4), 1, objective=Likelihood()),
        FittedTask(network, 3),
        RegressionTask(RegressionNetwork(4)),
    ]
    for split in ("val", "test"):
        measured = {key for task in tasks for key in getattr(task, f"{split}_metrics")}
        assert measured == {f"{split}/{metric.name}" for metric in metrics.VALIDATED}


@pytest.mark.parametrize(
    ("key", "goal"),
    [
        ("val/accuracy", "max"),
        ("rotated_30/nll", "min"),
        ("test/ece", "min"),
        ("test/log_prob", "max"),
        ("val/score", "max"),
        ("fashion/auroc_score", "max"),
        ("seconds", None),
        ("test/mine", None),
    ],
)
def test_which_way_is_better(key, goal):
    assert metrics.find_metric(key).goal == goal


@pytest.mark.parametrize(
    ("key", "value", "alone", "in_column"),
    [
        ("test/accuracy", 0.98345, "98.34%", "98.34"),
        ("filled_50/ece", 0.0012345, "0.001234", "0.12"),
        ("val/nll", 0.5, "0.5000", "0.5000"),
        ("val/nll", 1234.4, "1234", "1234.4000"),
        ("test/epoch", 12.0, "12", "12"),
        ("steps", 7731.0, "7731", "7,731"),
        ("test/mine", 12345.6, "1.235e+04", "12345.6000"),
        ("test/accuracy", float("nan"), "nan%", "nan"),
    ],
)
def test_values_are_printed_alone_and_in_columns(key, value, alone, in_column):
    metric = metrics.find_metric(key)
    assert metric.format_alone(value) == alone
    assert metric.format_in_column(value) == in_column


def test_a_difference_has_a_sign():
    assert metrics.find_metric("test/accuracy").format_in_column(0.01, signed=True) == "+1.00"
    assert metrics.find_metric("test/nll").format_in_column(-0.01, signed=True) == "-0.0100"


@pytest.mark.parametrize(
    ("key", "column", "axis"),
    [
        ("test/accuracy", "test/accuracy (%)", "test/accuracy (%)"),
        ("test/nll", "test/nll", "test/nll (nats)"),
        ("fashion/auroc_score", "fashion/auroc_score", "fashion/auroc_score"),
        ("seconds", "seconds", "seconds"),
        ("mine", "mine", "mine"),
    ],
)
def test_labels_carry_the_unit_that_values_lack(key, column, axis):
    assert metrics.label_column(key) == column
    assert metrics.label_axis(key) == axis


def test_a_score_says_that_it_is_no_likelihood():
    score = metrics.find_metric("test/score")
    assert score.axis == "log-score (nats, not normalised)"
    assert score.note == "score: mean log-score, not a normalised log-likelihood"
    assert not any(metric.note for metric in metrics.METRICS if metric is not score)


def test_a_rate_of_a_group_of_parameters_is_a_learning_rate():
    assert metrics.find_metric("lr/means").name == "lr"
    assert metrics.find_metric("lr/means").axis == "learning rate"


def test_names_are_shown_in_the_order_of_the_table():
    names = ["zeta", "log_z", "epoch", "score", "nll", "alpha", "accuracy"]
    assert metrics.sort_names(names) == [
        *("accuracy", "nll", "score"),
        *("epoch", "log_z", "alpha", "zeta"),
    ]
