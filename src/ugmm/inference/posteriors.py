"""Which class a row is of, where some of its features are not known."""

from typing import NamedTuple

import torch
from torch import Tensor

from ugmm.inference.asking import beside
from ugmm.inference.density_posteriors import density_posterior
from ugmm.inference.weights import TOO_FAR
from ugmm.nn import Classifier, Evidence, Queryable
from ugmm.nn.checks import check_positive, check_tensors

__all__ = ["Posterior", "posterior"]

_FILLED = 2048  # rows that the network sees at once
_LEAST = 1e-3  # what a class keeps that no neighbour believes in


class Posterior(NamedTuple):
    """How probable each class is.

    Attributes:
        probs: p(class | what is known), (n, C).
        error: Standard errors, (n, C), of averages over draws or neighbours; 0 where nothing was
            averaged. What it costs that components were dropped, they do not say.
        effective: The effective share of those draws, (n,); 1 where there were none.
        is_exact: Whether the answers are the network's own, up to rounding.
    """

    probs: Tensor
    error: Tensor
    effective: Tensor
    is_exact: bool


@torch.no_grad()
def posterior(
    network: Classifier,
    evidence: Evidence,
    *,
    n: int = 4096,
    seed: int = 0,
    rows: Tensor | None = None,
    neighbours: int = 5,
) -> Posterior:
    r"""Return the classes' posterior given the features that are known.

    A density answers by its own marginals: exactly, or by n weighted draws of what is missing. A
    network that has no density of its inputs cannot; the best two guesses are

    - to *drop* the components of the first layer that look at a missing input (a network of
      mixture neurons only; see `ugmm.nn.UGMM.marginal_score`), and
    - to fill in what is missing from each of the *nearest* k of some training rows, by Euclidean
      distance in what is known, and to average the posteriors.

    Where it can do both, what is returned is their geometric mean, scaled to sum to 1, in which
    what is dropped weighs as much as the share s of the inputs that are known:

    .. math::
        p(c) \propto p_\text{drop}(c)^s \Big( 10^{-3} + \frac1k \sum_{i=1}^k
            p(c \mid x_O, x^{(i)}_M) \Big)^{1-s}

    With all inputs known, that is the network's posterior. On digits it is right at least about
    as often as the better of the two, and mostly more often (docs/queries.md). Rows of which
    nothing is known get the mean posterior of the training rows. A network that was trained on
    rows with values missing answers by itself. Labels of the evidence are not looked at.

    Args:
        network: In evaluation mode.
        evidence: What is known of each row.
        n: Draws a row, of densities whose posterior is not exact.
        seed: Of those draws.
        rows: Training rows in model units, (m, D).
        neighbours: k.

    Raises:
        ValueError: If the network does not fit the evidence, or it can neither drop components
            nor has rows to fill in from.
    """
    check_positive(n=n, neighbours=neighbours)
    if network.training:
        raise ValueError("the network is in training mode; call network.eval() first")
    with network.prepared():
        if isinstance(network, Queryable):
            return Posterior(*density_posterior(network, evidence, n, seed))
        return _of_classifier(network, evidence, rows, neighbours)


def _of_classifier(
    network: Classifier, evidence: Evidence, rows: Tensor | None, neighbours: int
) -> Posterior:
    evidence = beside(network, evidence)
    x, known = evidence.x, evidence.known
    if network.missing:
        probs = network.class_scores(x.masked_fill(~known, torch.nan)).softmax(-1)
        _check_numbers(probs)
        return Posterior(probs, torch.zeros_like(probs), torch.ones(len(x)), True)
    whole, empty = known.all(-1), ~known.any(-1)
    if rows is not None:
        check_tensors(rows=rows)
        if rows.dim() != 2 or rows.shape[1] != x.shape[1] or not len(rows):
            raise ValueError(f"rows must be (m, {x.shape[1]}), got {tuple(rows.shape)}")
        if not rows.isfinite().all():
            raise ValueError("rows to fill in from must be finite")
        rows = rows.to(x)
    probs = network.class_scores(x).softmax(-1)
    error = torch.zeros_like(probs)
    partly = (~whole & ~empty).nonzero().squeeze(1)
    if len(partly):
        for part in partly.split(max(1, _FILLED // neighbours)):
            probs[part], error[part] = _guess(network, evidence[part], rows, neighbours)
    if empty.any():
        probs[empty] = _prior(network, evidence[empty][:1], rows).to(probs)
    _check_numbers(probs)
    return Posterior(probs, error, torch.ones(len(x)), bool(whole.all()))


def _check_numbers(probs: Tensor) -> None:
    if (wrong := probs.isnan().any(1)).any():
        raise ValueError(f"row {int(wrong.nonzero()[0])}: {TOO_FAR}")


def _guess(
    network: Classifier, evidence: Evidence, rows: Tensor | None, neighbours: int
) -> tuple[Tensor, Tensor]:
    """Return the classes' probabilities and their errors where some features are missing."""
    drop = getattr(network, "marginal_class_scores", None)
    if drop is None and rows is None:
        raise ValueError(
            f"a {type(network).__name__} cannot leave out inputs that are missing; give training "
            "rows to fill them in from"
        )
    dropped = None if drop is None else drop(evidence.x, evidence.known).log_softmax(-1)
    if rows is None:
        assert dropped is not None
        return dropped.exp(), torch.zeros_like(dropped)
    near = _near(network, evidence, rows, neighbours)  # (k, n, C)
    share = evidence.known.to(near.dtype).mean(-1, keepdim=True)

    def joined(mean: Tensor) -> Tensor:
        """The guess whose neighbours' mean posterior is (..., n, C)."""
        if dropped is None:
            return mean
        return (share * dropped + (1 - share) * (mean + _LEAST).log()).softmax(-1)

    k = len(near)
    found = joined(near.mean(0))
    if k == 1:
        return found, torch.zeros_like(found)
    without = joined((near.sum(0) - near) / (k - 1))  # the jackknife's
    return found, ((k - 1) * without.var(0, correction=0)).sqrt()


def _near(network: Classifier, evidence: Evidence, rows: Tensor, neighbours: int) -> Tensor:
    """Return the posteriors of rows filled in from each of their neighbours: (k, n, C)."""
    x, known = evidence.x, evidence.known
    # |x - row|^2 over what is known, less what is the same for all rows.
    distance = known.to(x.dtype) @ rows.square().T - 2 * x @ rows.T
    nearest = distance.topk(min(neighbours, len(rows)), largest=False).indices  # (n, k)
    filled = torch.where(known, x, rows[nearest.T])
    return network.class_scores(filled).softmax(-1)


def _prior(network: Classifier, nothing: Evidence, rows: Tensor | None) -> Tensor:
    """Return the posterior of one row of which nothing is known: (C,)."""
    if rows is not None:
        parts = [network.class_scores(part).softmax(-1) for part in rows.split(_FILLED)]
        return torch.cat(parts).mean(0)
    return _guess(network, nothing, None, 1)[0][0]
