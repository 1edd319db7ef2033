"""A scope in which what kernels make of the parameters is made once."""

import contextlib
from collections.abc import Iterator

from torch import nn

from ugmm.kernels.prepared import Prepared
from ugmm.nn.mixture.layer import UGMM

__all__ = ["prepared"]


@contextlib.contextmanager
def prepared(network: nn.Module, kept: dict[nn.Module, Prepared] | None = None) -> Iterator[None]:
    """Prepare the parameters of all mixture layers of a network once, for the calls in a scope.

    A call computes some constants of every component before it meets the inputs; in this scope
    each layer's first call does so and the others use them. That pays where a call has few rows.
    Layers whose parameters are computed at each look, as by `torch.nn.utils.parametrize`, or have
    no numbers are left as they are; so are copies that are made within the scope.

    Args:
        network: Whose layers.
        kept: Where it is kept what each layer has prepared, for scopes that follow this one: no
            parameter may change between them.

    Raises:
        RuntimeError: In a call, if a layer's parameters have changed since the scope was entered;
            `ugmm.kernels.prepared.Prepared.check` says which changes are seen.
    """
    layers = [m for m in network.modules() if isinstance(m, UGMM) and m.can_be_prepared()]
    kept = {} if kept is None else kept
    for layer in layers:
        if layer not in kept:
            parameters = layer.loc, layer.raw_scale, layer.logits
            kept[layer] = Prepared(*parameters, min_scale=layer.min_scale)
        layer._prepared = kept[layer]
    try:
        yield
    finally:
        for layer in layers:
            layer._prepared = None
