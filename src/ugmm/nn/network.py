"""Feed-forward networks of mixture neurons."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ugmm.kernels import KernelName
from ugmm.nn.checks import check_candidates, check_tensors, per_layer
from ugmm.nn.classifier import Classifier
from ugmm.nn.heads import Gain, Head, check_head
from ugmm.nn.mixture import UGMM
from ugmm.nn.norms import Norm, check_sizes, make_norm

__all__ = ["UGMMNetwork"]

_BLOCK = 1024  # candidates that go through the later layers at once: few stay in the cache
_MANY = 4096  # candidates of a row: fewer do not repay what `UGMM.near` prepares
_SUMS = 2**22  # over other inputs, held at once
_WIDE = 4096  # components of a layer: narrower ones do not, either
_LEAST_GAIN = 1.0  # of `coordinate_gain`: with as many components, rows still need not be built


class UGMMNetwork(Classifier):
    r"""Layers of mixture neurons: the log-scores of one layer are the inputs of the next.

    Reference:
        Ali, Z. S., arXiv:2509.07569. The paper's networks are ``norm="none"``, ``init="paper"``,
        ``min_scale=0``.

    Arguments:
        sizes: Widths from input to output, such as ``[784, 128, 64, 10]``.
        dropout: Probability that a component of the *first* layer is dropped, as in the paper; a
            sequence gives one probability for each layer of neurons.
        norm: What stands between layers: ``"none"``, ``"layer"`` (LayerNorm) or ``"batch"``
            (BatchNorm). Log-scores spread over tens of units; a norm brings them back to the
            range where the next layer's components are sensitive.
        init: ``"unit"`` has scales 1, equal weights and means N(0, 0.5^2) in the first layer,
            N(0, 1) after it; ``"paper"`` has means N(0, 1), scales and logits U(0, 1);
            ``"data"`` starts as ``"unit"`` and is completed by :meth:`init_from`.
        min_scale: Floor under every scale.
        kernel: See :func:`ugmm.functional.mixture_log_score`.
        input_dropout: Probability that an input of the network is dropped, row by row.
        missing: Whether NaN in an input says that it is not known. The first layer leaves it out
            then, and the class scores of a row of which nothing is known are `log_prior`.
        head: What the outputs are: ``"mixture"``, the last neurons' log-scores, which have an
            upper bound; ``"gain"``, these times a learned number; ``"linear"``, a norm and an
            affine map of the neurons before them. See :func:`ugmm.nn.heads.make_head`.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Attributes:
        missing: Whether it has been told so.
        log_prior: With `missing`, the logarithms of the classes' shares, (sizes[-1],): all alike
            before :meth:`set_prior`.
        head: What makes outputs of the last layer's scores.
        head_name: Its name.

    Shapes:
        input (..., sizes[0]), output (..., sizes[-1]).

    Raises:
        ValueError: If an argument is out of its range.
    """

    log_prior: Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        dropout: float | Sequence[float] = 0.0,
        norm: Norm = "none",
        init: Literal["unit", "paper", "data"] = "unit",
        min_scale: float = 1e-3,
        kernel: KernelName = "auto",
        input_dropout: float = 0.0,
        missing: bool = False,
        head: Head = "mixture",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_sizes(sizes)
        if init not in ("unit", "paper", "data"):
            raise ValueError(f"init must be 'unit', 'paper' or 'data', got {init!r}")
        check_head(head)
        if head == "linear" and len(sizes) < 3:
            raise ValueError(f"head='linear' needs a width between input and output, got {sizes}")
        self.sizes, self.init, self.head_name = list(sizes), init, head
        neurons = self.sizes[:-1] if head == "linear" else self.sizes
        rates = per_layer(dropout, len(neurons) - 1)
        self.layers = nn.ModuleList(
            UGMM(
                n_in,
                n_out,
                dropout=rates[i],
                input_dropout=input_dropout if i == 0 else 0.0,
                min_scale=min_scale,
                init="paper" if init == "paper" else "unit",
                loc_std=0.5 if i == 0 and init != "paper" else 1.0,
                kernel=kernel,
                device=device,
                dtype=dtype,
            )
            for i, (n_in, n_out) in enumerate(pairwise(neurons))
        )
        self.norms = nn.ModuleList(
            make_norm(norm, width, device, dtype) for width in neurons[1:-1]
        )
        self.head = _after_neurons(head, norm, sizes[-2], sizes[-1], device, dtype)
        if missing:
            self.expect_missing()

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs: (..., sizes[0]) to (..., sizes[-1])."""
        first, *rest = self.layers
        return self._after_first(first(x), rest)

    def expect_missing(self) -> None:
        """See `Classifier.expect_missing`: what its argument `missing` does."""
        first = cast("UGMM", self.layers[0])
        self.missing = first.missing = self.init_args["missing"] = True
        prior = torch.full_like(first.loc[0, :1], -math.log(self.sizes[-1])).detach()
        self.register_buffer("log_prior", prior.repeat(self.sizes[-1]))

    def set_prior(self, shares: Tensor) -> None:
        """See `Classifier.set_prior`."""
        if self.missing:
            self.log_prior.copy_(shares.log())

    def class_scores(self, x: Tensor) -> Tensor:
        """Return the outputs as the classes' scores: (..., sizes[0]) to (..., sizes[-1])."""
        check_tensors(x=x)
        scores = self(x)
        return self._or_prior(scores, ~x.isnan()) if self.missing else scores

    def score_pairs(self, x: Tensor, codes: Tensor) -> Tensor:
        """See `Classifier.score_pairs`; the first layer computes each part of its inputs once."""
        first, *rest = cast("list[UGMM]", list(self.layers))
        # Dropout could take all components of one of the two parts.
        if self.training and (first.dropout or first.input_dropout):
            return super().score_pairs(x, codes)
        check_tensors(x=x, codes=codes)
        return self._after_first(first.score_pairs(x, codes.to(x.dtype)), rest)

    def marginal_class_scores(self, x: Tensor, observed: Tensor) -> Tensor:
        """Return the outputs where some inputs are unknown: the first layer leaves them out.

        Args:
            x: (..., sizes[0]).
            observed: True where an input is known, (..., sizes[0]); see `UGMM.marginal_score`.
        """
        first, *rest = cast("list[UGMM]", list(self.layers))
        scores = self._after_first(first.marginal_score(x, observed), rest)
        return self._or_prior(scores, observed) if self.missing else scores

    def _or_prior(self, scores: Tensor, known: Tensor) -> Tensor:
        """Return the scores, but for rows of which no input is known."""
        return scores.where(known.any(-1, keepdim=True), self.log_prior.to(scores.dtype))

    def coordinates_pay(self, n_candidates: int, n_codes: int = 1) -> bool:
        """Return whether `coordinate_scores` is cheaper than whole rows: see `coordinate_gain`.

        Never where whole rows are needed: dropout draws masks for them, and what is missing is
        looked for in them.
        """
        dropout = self.training and any(each.dropout or each.input_dropout for each in self.layers)
        possible = not (dropout or self.missing)
        return possible and self.coordinate_gain(n_candidates, n_codes) > _LEAST_GAIN

    def coordinate_gain(self, n_candidates: int, n_codes: int = 1) -> float:
        r"""Return how many times as many components whole rows take as `coordinate_scores`.

        With N inputs, M neurons of the first layer, T components in the later layers and C codes
        that are joined with each input, whole rows take :math:`N M + C T` for a candidate (see
        `score_pairs`), and candidates of single inputs :math:`C (M + T)`, and for each row the
        sums over the other inputs. Without codes the gain is at most
        :math:`R = (N M + T) / (M + T)`.

        Args:
            n_candidates: Of each row.
            n_codes: C.
        """
        n_in, width, *_ = self.sizes
        later = sum(layer.loc.numel() for layer in cast("list[UGMM]", list(self.layers)[1:]))
        whole = n_candidates * (n_in * width + n_codes * later)
        single = n_codes * (n_candidates * (width + later) + 2 * n_in * width)
        return whole / single

    def coordinate_scores(
        self, x: Tensor, values: Tensor, coordinates: Tensor | None = None
    ) -> Tensor:
        """See `Classifier.coordinate_scores`; where it pays, inputs are added up once.

        What the first layer makes of the candidates goes on through the others in blocks, and is
        never held as a whole.
        """
        coordinates, spread = check_candidates(x, values, coordinates)
        n_wanted, n_values = len(coordinates), spread.shape[-1]
        if not self.coordinates_pay(n_wanted * n_values):
            return super().coordinate_scores(x, values, coordinates)
        many = n_wanted * n_values >= _MANY
        at_once = 1 if many else max(1, _SUMS // max(1, n_wanted * self.sizes[1]))
        parts = x.reshape(-1, x.shape[-1]).split(at_once)
        each = [spread] * len(parts) if len(spread) == 1 else spread.split(at_once)
        with self.prepared():
            scores = [
                scores
                for rows, own in zip(parts, each, strict=True)
                for scores in self._candidates(
                    rows, own, coordinates, self._near(rows) if many and len(rows) else self._later
                )
            ]
        return torch.cat(scores).reshape(*x.shape[:-1], n_wanted, n_values, self.sizes[-1])

    def _candidates(
        self, x: Tensor, values: Tensor, coordinates: Tensor, later: Callable[[Tensor], Tensor]
    ) -> Iterator[Tensor]:
        """Yield the outputs of some candidates after the others."""
        first, pairs = cast("UGMM", self.layers[0]), max(1, _BLOCK // max(1, values.shape[-1]))
        values = values if len(values) == len(x) else values[0]
        for _, h in first.coordinate_blocks(x, values, coordinates, pairs):
            yield later(h.flatten(0, 1))

    def _later(self, x: Tensor) -> Tensor:
        return self._after_first(x, list(self.layers)[1:])

    def _near(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the later layers for many rows near what the first layer makes of x (1, N)."""
        first, *rest = cast("list[UGMM]", list(self.layers))
        x, near = first._score(x, first.logits), []
        for layer, norm in zip(rest, self.norms, strict=True):
            x = norm(x)
            wide = layer.in_features * layer.out_features >= _WIDE
            near.append(layer.near(x) if wide else layer)
            x = layer._score(x, layer.logits)
        return functools.partial(self._after_first, layers=near)

    def _after_first(self, x: Tensor, layers: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
        for layer, norm in zip(layers, self.norms, strict=True):
            x = layer(norm(x))
        return self.head(x)

    @torch.no_grad()
    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:  # noqa: ARG002
        """Initialise the neurons from a batch of data as it arrives there; see `UGMM.init_from`.

        Args:
            x: (batch, sizes[0]).
            y: Not used.
        """
        *hidden, last = cast("list[UGMM]", list(self.layers))
        for layer, norm in zip(hidden, self.norms, strict=True):
            layer.init_from(x)
            x = norm(layer(x))
        last.init_from(x)

    def reset_parameters(self) -> None:
        """Draw all parameters afresh."""
        for module in (*self.layers, *self.norms, *self.head.modules()):
            if isinstance(module, UGMM | nn.LayerNorm | nn.BatchNorm1d | Gain | nn.Linear):
                module.reset_parameters()

    def extra_repr(self) -> str:
        """Describe the network in `repr`; its layers describe themselves."""
        text = f"sizes={self.sizes}, init={self.init!r}"
        text += f", head={self.head_name!r}" * (self.head_name != "mixture")
        return text + ", missing=True" * self.missing


def _after_neurons(
    head: Head,
    norm: Norm,
    width: int,
    n_out: int,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> nn.Module:
    """Return what makes outputs of the last neurons' scores.

    `width` is that of the scores which a linear head looks at, and of the inputs of any other's
    neurons.
    """
    if head == "mixture":
        return nn.Identity()
    if head == "gain":
        return Gain(math.sqrt(width), device=device, dtype=dtype)
    return nn.Sequential(
        make_norm(norm, width, device, dtype),
        nn.Linear(width, n_out, device=device, dtype=dtype),
    )
