"""What an autoregressive network makes of its scores: the distribution of each feature."""

from collections.abc import Sequence
from typing import Literal

from ugmm.nn.autoregressive.heads.bernoulli import BernoulliHead
from ugmm.nn.autoregressive.heads.gaussian import GaussianHead
from ugmm.nn.autoregressive.heads.levels import LevelsHead
from ugmm.nn.autoregressive.heads.neighbours import Neighbours
from ugmm.nn.checks import check_positive
from ugmm.nn.images import find_image_shape

__all__ = [
    "BernoulliHead",
    "GaussianHead",
    "Head",
    "HeadName",
    "LevelsHead",
    "Neighbours",
    "make_head",
]

Head = GaussianHead | BernoulliHead | LevelsHead
HeadName = Literal["gaussian", "bernoulli", "levels"]


def make_head(
    name: HeadName,
    n_features: int,
    width: int,
    *,
    components: int = 4,
    min_scale: float = 1e-3,
    levels: int = 256,
    neighbours: int = 0,
    image_shape: Sequence[int] | None = None,
    shared: bool = False,
) -> Head:
    """Return a head by its name; `AutoregressiveUGMM` says what they are.

    Args:
        name: Of the head.
        n_features: D.
        width: M, the number of scores for each feature.
        components: Of a mixture.
        min_scale: Floor under the scales of Gaussians.
        levels: How many values a feature of the head `levels` may have.
        neighbours: How far the pixels are, at most, that a linear term looks at; 0: there is none.
        image_shape: Their height and width; None for square images.
        shared: Whether scores mean the same at every feature, as those of a convolution do: then
            features share weights, and learn what is their own besides; those of neighbours are
            shared only. Not for Gaussians.

    Raises:
        ValueError: If there is no such head, or something is out of its range.
    """
    check_positive(n_features=n_features, components=components)
    if name not in ("gaussian", "bernoulli", "levels"):
        raise ValueError(f"head must be 'gaussian', 'bernoulli' or 'levels', got {name!r}")
    if name == "levels" and levels < 3:
        raise ValueError(f"levels must be at least 3, got {levels}; of two, use head='bernoulli'")
    if neighbours < 0 or (neighbours and name == "gaussian"):
        raise ValueError(
            f"neighbours={neighbours} with head={name!r}: it must not be negative, and the "
            "Gaussian head has a linear term of all features already"
        )
    near = None
    if neighbours:
        channels, *shape = find_image_shape(n_features, image_shape)
        if channels != 1:
            raise ValueError("neighbours are those of grey images, of one channel")
        numbers = 1 if name == "bernoulli" else 3 * components
        near = Neighbours((shape[0], shape[1]), neighbours, numbers, shared)
    if name == "gaussian":
        return GaussianHead(n_features, width, components, min_scale)
    if name == "bernoulli":
        return BernoulliHead(n_features, width, near, shared)
    return LevelsHead(n_features, width, components, levels, near, shared)
