"""Regression: networks that predict a distribution of a number, and the distributions."""

from ugmm.nn.regression.heads import PredictiveHead, PredictiveHeadName, make_predictive_head
from ugmm.nn.regression.mixture import MixturePredictive
from ugmm.nn.regression.network import RegressionNetwork
from ugmm.nn.regression.predictive import GaussianPredictive, Predictive
from ugmm.nn.regression.quantiles import QuantilePredictive
from ugmm.nn.regression.regressor import Regressor

__all__ = [
    "GaussianPredictive",
    "MixturePredictive",
    "Predictive",
    "PredictiveHead",
    "PredictiveHeadName",
    "QuantilePredictive",
    "RegressionNetwork",
    "Regressor",
    "make_predictive_head",
]
