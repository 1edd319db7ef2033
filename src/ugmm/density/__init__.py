"""Densities built on networks of mixture neurons: base, proposal, partition function."""

from ugmm.density.ensemble import Ensemble
from ugmm.density.gaps import fill_gaps
from ugmm.density.gaussian import Gaussian, GaussianMixture, covariance
from ugmm.density.mixture import ClassMixture
from ugmm.density.partition import Estimate, by_importance, by_sobol
from ugmm.density.tilted import TiltedGaussian
from ugmm.density.vicinal import VicinalNoise, silverman_width

__all__ = [
    "ClassMixture",
    "Ensemble",
    "Estimate",
    "Gaussian",
    "GaussianMixture",
    "TiltedGaussian",
    "VicinalNoise",
    "by_importance",
    "by_sobol",
    "covariance",
    "fill_gaps",
    "silverman_width",
]
