"""What a case of the contract is; see contract_cases.py."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ugmm.density import Ensemble, TiltedGaussian
from ugmm.nn import UGMM

D, C = 4, 3  # features and classes


@dataclass(frozen=True)
class Case:
    """A kind of network.

    Attributes:
        build: Makes one, as its constructor leaves it.
        repr: Texts that its repr contains.
        n_parameters: How many numbers it learns, counted by hand; None where another package
            decides.
        n_classes: How many classes it scores.
        binary: Whether its features are 0 or 1.
        grey: Whether they have more levels, of which 0 and 1 are two.
        init: What `init_from` needs: "features", "labels" too, or "none" where there is no such
            thing.
        fitted: Whether it has no parameters, only what `init_from` fits.
        factory: Whether its constructor takes a device and a dtype.
        on_meta: Whether it can be evaluated on the device "meta".
        draws: Whether it has a `sample`.
        marginals: Whether it has `marginal_class_scores`.
        layer: Whether it is a layer only, and no classifier.
    """

    build: Callable[..., nn.Module]
    repr: tuple[str, ...]
    n_parameters: int | None
    n_classes: int = C
    binary: bool = False
    grey: bool = False
    init: str = "features"
    fitted: bool = False
    factory: bool = False
    on_meta: bool = True
    draws: bool = False
    marginals: bool = False
    layer: bool = False

    def rows(self, *lead, device="cpu", dtype=torch.float64):
        """Features (*lead, D), the same at each call."""
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(*lead, D, generator=generator, dtype=torch.float64)
        return (x > 0 if self.binary or self.grey else x).to(device, dtype)

    def labels(self, n, device="cpu"):
        """Labels (n,) of all classes in turn."""
        return torch.arange(n, device=device) % self.n_classes

    def ready(self, device="cpu", dtype=torch.float64, seed=0):
        """A network in the midst of training: initialised, then moved from where it began."""
        torch.manual_seed(seed)
        network = self.build().to(device, dtype)
        x, y = self.rows(30, device=device, dtype=dtype), self.labels(30, device)
        if self.init != "none":
            initialise(network, x, y)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        for density in network if isinstance(network, Ensemble) else [network]:
            if isinstance(density, TiltedGaussian):
                density.eval()
                density.fit_base(x, y)
                density.normalize(2**8)
        return network.train()


def initialise(network, x, y):
    """Call `init_from`; a layer knows no labels."""
    return network.init_from(x) if isinstance(network, UGMM) else network.init_from(x, y)
