"""Which components of a neuron speak, how many, and how to do without the others."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ugmm.nn.checks import check_tensors
from ugmm.nn.mixture.layer import UGMM

__all__ = ["effective_number", "prune_components", "responsibilities"]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def responsibilities(layer: UGMM, x: Tensor) -> Tensor:
    r"""Return how much of each neuron's score every component has, without dropout.

    .. math::
        r_{jk}(x) = \frac{\pi_{jk} \, \mathcal{N}(x_k; \mu_{jk}, \sigma_{jk}^2)}{\exp s_j(x)}

    is the posterior probability that component k of neuron j is the one that x was drawn from, and
    the derivative of the score by the logarithm of that component. In plain operations of torch,
    which hold several numbers for each row and component: give rows in parts where these are many.

    Args:
        layer: Of M neurons with N components each.
        x: Its inputs, (..., N), all of them known.

    Returns:
        (..., M, N): positive, with the sum 1 over the components.
    """
    check_tensors(x=x)
    z = (x.unsqueeze(-2) - layer.loc) / layer.scale
    return (layer.logits - layer.log_scale - _HALF_LOG_2PI - 0.5 * z.square()).softmax(-1)


def effective_number(shares: Tensor) -> Tensor:
    r"""Return the exponential of the entropy of shares (..., N): of how many N may be told to be.

    It is N where all are alike and 1 where one has everything. Of mixing weights it says how many
    components a neuron weighs, of `responsibilities` how many speak about a row.

    Args:
        shares: Not negative, with the sum 1 along the last dimension.
    """
    return torch.special.entr(shares).sum(-1).exp()


@torch.no_grad()
def prune_components(
    network: nn.Module, keep: float, importance: Mapping[nn.Module, Tensor] | None = None
) -> int:
    r"""Take all but the most important components out of every mixture neuron, in place.

    Of a neuron's N components round(keep N) stay, at least one. The logits of the others become
    :math:`-\infty`: their weight is 0, the weights of those that stay renormalise, and no gradient
    brings a component back. It is what dropout does in one pass of training. With
    `network.prepared()`, a CPU computes those that stay alone.

    A few steps of training make good for much of what is lost. An average of weights over these
    must keep infinities apart, as `trainer.averaging` does: `torch.lerp` of two is NaN.

    Args:
        network: Whose layers: every `UGMM` there is.
        keep: The share of the components that stay, in (0, 1]; of all N, so that pruning twice
            to a half is pruning once.
        importance: By what components are chosen, (M, N) for some layers, which alone are pruned
            then; None: by their mixing weights, in all layers. Those that are gone already do not
            come back.

    Returns:
        How many components the network has left, in all its layers.

    Raises:
        ValueError: If there is no such layer, or an argument is out of its range or shape.
    """
    if not 0 < keep <= 1:
        raise ValueError(f"keep must be in (0, 1], got {keep}")
    layers = [module for module in network.modules() if isinstance(module, UGMM)]
    if not layers:
        raise ValueError(f"there are no mixture neurons to prune in {type(network).__name__}")
    if importance is None:
        importance = {layer: layer.logits for layer in layers}
    if strange := [layer for layer in importance if layer not in layers]:
        raise ValueError(f"importance names a layer that is not the network's: {strange[0]}")
    for layer, of_layer in importance.items():
        assert isinstance(layer, UGMM)
        _prune(layer, keep, of_layer)
    return sum(int((layer.logits > -math.inf).sum()) for layer in layers)


def _prune(layer: UGMM, keep: float, importance: Tensor) -> None:
    if importance.shape != layer.logits.shape:
        raise ValueError(
            f"importance must be {tuple(layer.logits.shape)}, as the logits are, not "
            f"{tuple(importance.shape)}"
        )
    there = layer.logits > -math.inf
    ranked = importance.where(there, -math.inf)
    kept = ranked.topk(max(1, round(keep * ranked.shape[-1])), dim=-1).indices
    stays = torch.zeros_like(there).scatter_(-1, kept, True)
    layer.logits.masked_fill_(~stays, -math.inf)
