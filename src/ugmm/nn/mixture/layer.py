"""The layer: neurons that are univariate Gaussian mixtures over their inputs."""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.fx import wrap

from ugmm.functional import coordinate_blocks, mixture_log_score
from ugmm.kernels import KernelName, check_kernel_name, choose_nearby
from ugmm.kernels.prepared import Prepared
from ugmm.kernels.problem import Problem
from ugmm.kernels.roads import has_numbers
from ugmm.nn.checks import check_tensors
from ugmm.nn.mixture.dropping import dropped
from ugmm.nn.mixture.pairs import pair_scores

__all__ = ["UGMM"]

wrap("mixture_log_score")  # a leaf of torch.fx.symbolic_trace, which has no tensors to check

_PARAMETERS = ("loc", "raw_scale", "logits")
_NEVER = 1e-12  # the largest chance of losing all components that a neuron may run

# Initial scales are the data's standard deviations; that of a constant input would be 0.
_SMALLEST_SPREAD = 1e-3


class UGMM(nn.Module):
    r"""A layer of neurons, each a univariate Gaussian mixture with one component per input.

    Neuron :math:`j` maps :math:`x \in \mathbb{R}^N` to the log-score

    .. math::
        \log p_j(x) = \log \sum_{k=1}^{N} \pi_{jk}
            \, \mathcal{N}(x_k; \mu_{jk}, \sigma_{jk}^2),
        \qquad \pi_j = \operatorname{softmax}(\text{logits}_j),
        \qquad \sigma = \sigma_\text{min} + \exp(\text{raw\_scale}).

    For :math:`N \ge 2` the score is not a normalised density over :math:`x`: component :math:`k`
    is constant in every input but :math:`x_k`. Scores of one input can be compared with each
    other (between classes, say), not with another model's likelihood.

    Dropout acts on components: in training, one mask is drawn per pass and shared by the batch; a
    dropped component's logit becomes :math:`-\infty`, the remaining weights renormalise, and no
    neuron loses all of its components. Input dropout acts on inputs: in training, every row loses
    inputs of its own, and with them all components that look at them. It teaches a layer to
    make do with the inputs that are known, as :meth:`marginal_score` has to.

    Reference:
        Ali, Z. S., *uGMM-NN: Univariate Gaussian Mixture Model Neural Network*, arXiv:2509.07569.

    Arguments:
        in_features: Number of inputs :math:`N`, hence of components in each neuron.
        out_features: Number of neurons :math:`M`.
        dropout: Probability in [0, 1) that a component is dropped.
        min_scale: Floor :math:`\sigma_\text{min} \ge 0` under every scale; the paper has none.
        init: ``"unit"`` has scales 1 and equal weights; ``"paper"`` draws the scales and the
            logits from U(0, 1).
        loc_std: The means are drawn from N(0, loc_std^2).
        kernel: How the score is computed; see :func:`ugmm.functional.mixture_log_score`.
        input_dropout: Probability in [0, 1) that an input is dropped.
        missing: Whether NaN in an input says that it is not known: see :meth:`marginal_score`.
        device: Where the parameters live.
        dtype: Their floating-point type.

    Shapes:
        input (..., N), output (..., M); ``loc``, ``raw_scale`` and ``logits`` are (M, N).

    Raises:
        ValueError: If an argument is out of its range.
    """

    loc: nn.Parameter
    raw_scale: nn.Parameter
    logits: nn.Parameter
    _prepared: Prepared | None = None  # within `prepared`

    def __init__(
        self,
        in_features: int,
        out_features: int,
        dropout: float = 0.0,
        min_scale: float = 1e-3,
        init: Literal["unit", "paper"] = "unit",
        loc_std: float = 1.0,
        kernel: KernelName = "auto",
        input_dropout: float = 0.0,
        missing: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if in_features < 1 or out_features < 1:
            raise ValueError(
                f"a layer needs inputs and outputs, got {in_features}, {out_features}"
            )
        for name, rate in (("dropout", dropout), ("input_dropout", input_dropout)):
            if not 0 <= rate < 1:
                raise ValueError(f"{name} must be in [0, 1), got {rate}")
        either = dropout + input_dropout - dropout * input_dropout
        if dropout and input_dropout and either**in_features > _NEVER:
            raise ValueError(
                f"dropout={dropout} and input_dropout={input_dropout} together could take all "
                f"components of a neuron with {in_features} inputs; use one of them"
            )
        if not 0 <= min_scale < math.inf:
            raise ValueError(f"min_scale must be finite and not negative, got {min_scale}")
        if init not in ("unit", "paper"):
            raise ValueError(f"init must be 'unit' or 'paper', got {init!r}")
        check_kernel_name(kernel)
        self.in_features = in_features
        self.out_features = out_features
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.missing = missing
        self.min_scale = min_scale
        self.init = init
        self.loc_std = loc_std
        self.kernel = kernel
        for name in _PARAMETERS:
            empty = torch.empty(out_features, in_features, device=device, dtype=dtype)
            setattr(self, name, nn.Parameter(empty))
        self.reset_parameters()

    @property
    def scale(self) -> Tensor:
        """The standard deviations, (M, N), at least `min_scale`."""
        return self.min_scale + self.raw_scale.exp()

    @property
    def log_scale(self) -> Tensor:
        """The logarithm of `scale`, (M, N)."""
        return self.scale.log() if self.min_scale > 0 else self.raw_scale

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the initial means, scales and logits, as `init` says."""
        self.loc.normal_(0, self.loc_std)
        if self.init == "paper":
            self._set_scale(1 - torch.rand_like(self.loc))  # in (0, 1]: a scale of 0 is no scale
            self.logits.uniform_(0, 1)
        else:
            self._set_scale(torch.ones_like(self.loc))
            self.logits.zero_()

    @torch.no_grad()
    def init_from(self, x: Tensor) -> None:
        """Spread the neurons as the data is spread, input by input.

        The means are drawn from a normal distribution with each input's own mean and standard
        deviation, which is also the scale. (Neurons placed on whole rows of the data would be too
        much alike: on Iris they end 0.2 nats worse.)

        Args:
            x: A batch of this layer's inputs, (batch, N), with at least one row.

        Raises:
            ValueError: If `x` is not a batch of N inputs.
        """
        check_tensors(x=x)
        if x.dim() != 2 or x.shape[0] == 0 or x.shape[1] != self.in_features:
            raise ValueError(
                f"expected a batch of {self.in_features} inputs, got {tuple(x.shape)}"
            )
        self._spread_as(x.mean(0), x.std(0, correction=0))

    def _spread_as(self, mean: Tensor, spread: Tensor) -> None:
        spread = spread.clamp(min=_SMALLEST_SPREAD)
        self.loc.normal_().mul_(spread).add_(mean)
        self._set_scale(spread.expand_as(self.loc))
        self.logits.zero_()

    def _set_scale(self, scale: Tensor) -> None:
        # Near or under the floor, exp(raw_scale) stays a tenth of the scale that was asked for:
        # any smaller and the scale would hardly feel its gradient.
        self.raw_scale.copy_(torch.maximum(scale - self.min_scale, scale / 10).log())

    def forward(self, x: Tensor) -> Tensor:
        """Return the log-scores of a batch: (..., N) to (..., M)."""
        if self.missing or (self.training and self.input_dropout > 0):
            check_tensors(x=x)
        known = ~x.isnan() if self.missing else None
        if not self.training:
            return self._score(x, self.logits, known)
        if self.input_dropout > 0:
            kept = ~dropped(x, self.input_dropout, known)
            known = kept if known is None else known & kept
        return self._score(x, self.masked_logits(), known)

    def _score(self, x: Tensor, logits: Tensor, known: Tensor | None = None) -> Tensor:
        return mixture_log_score(
            x,
            self.loc,
            self.raw_scale,
            logits,
            known=known,
            min_scale=self.min_scale,
            kernel=self.kernel,
            prepared=self._prepared if logits is self.logits else None,
        )

    def marginal_score(self, x: Tensor, observed: Tensor) -> Tensor:
        r"""Return the log-scores where some inputs are unknown, without dropout: (..., M).

        Components that look at an unknown input are left out and the other weights renormalise,
        which is what summing those inputs out does to a univariate mixture:

        .. math::
            \log \sum_{k \in O} \pi_{jk} \, \mathcal{N}(x_k; \mu_{jk}, \sigma_{jk}^2)
            - \log \sum_{k \in O} \pi_{jk}

        Args:
            x: Inputs, (..., N); the values of unknown ones are ignored.
            observed: True where an input is known, (..., N). A row in which none is has the
                scores 0: nothing has a density of 1.
        """
        return self._score(x, self.logits, observed)

    def coordinate_blocks(
        self, x: Tensor, values: Tensor, coordinates: Tensor | None, pairs: int
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yield the log-scores where one input has other values, without dropout, block by block.

        See `ugmm.functional.coordinate_blocks`.

        Args:
            x: Inputs, (..., N).
            values: Candidates, (G,), (C, G) or (..., C, G).
            coordinates: Which inputs are replaced, (C,); None for all.
            pairs: How many pairs of row and coordinate a block has, at most.
        """
        return coordinate_blocks(
            x,
            self.loc,
            self.raw_scale,
            self.logits,
            values,
            coordinates,
            pairs=pairs,
            min_scale=self.min_scale,
            kernel=self.kernel,
            prepared=self._prepared,
        )

    def near(self, base: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what computes the log-scores, without dropout, of many rows that are near one.

        Where there is a kernel for it, an input that hardly differs costs a polynomial instead of
        an exponential; how far that is exact is found beforehand, which only many rows repay.

        Args:
            base: One row of inputs, (1, N).
        """
        problem = Problem(base, self.loc, self.raw_scale, self.logits, None, self.min_scale)
        kind = choose_nearby(problem, self.kernel)
        nearby = kind and kind(problem)
        if nearby is None or not nearby.usable:
            return functools.partial(self._score, logits=self.logits)

        def scores(x: Tensor) -> Tensor:
            found, lost = nearby.scores(x)
            if len(lost):
                found[lost] = self._score(x[lost], self.logits)
            return found

        return scores

    def masked_logits(self) -> Tensor:
        """Return the logits, (M, N); in training, those of freshly dropped components are -inf."""
        if self.training and self.dropout > 0:
            there = self.logits > -math.inf  # of a pruned neuron one that is left has to stay
            mask = dropped(self.logits, self.dropout, there, of_batch=False)
            return self.logits.masked_fill(mask, -math.inf)
        return self.logits

    def score_pairs(self, x: Tensor, codes: Tensor) -> Tensor:
        r"""Return the log-scores of every input joined with every code, without dropout.

        The sum over components splits into those that look at `x` and those that look at the
        code; with the logits :math:`a`, the logarithms of their weights,

        .. math::
            \log \sum_k e^{a_k} p_k = \operatorname{logaddexp}\Big(
                \log \sum_{k \le F} e^{a_k} p_k, \; \log \sum_{k > F} e^{a_k} p_k \Big)

        Args:
            x: The first F inputs, (..., F).
            codes: The other N - F inputs, (C, N - F).

        Returns:
            (..., C, M).
        """
        check_tensors(x=x, codes=codes)
        return pair_scores(
            x,
            codes,
            (self.loc, self.raw_scale, self.logits),
            known=~x.isnan() if self.missing else None,
            min_scale=self.min_scale,
            kernel=self.kernel,
            prepared=self._prepared,
        )

    def can_be_prepared(self) -> bool:
        """Return whether `prepared` has numbers to prepare, and has not done so yet."""
        kept = [self._parameters.get(name) for name in _PARAMETERS]
        return self._prepared is None and all(t is not None and has_numbers(t) for t in kept)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a file holds: nothing of a scope of `prepared`."""
        return {name: value for name, value in vars(self).items() if name != "_prepared"}

    def extra_repr(self) -> str:
        """Describe the layer in `repr`."""
        text = f"in_features={self.in_features}, out_features={self.out_features}"
        for name in ("dropout", "input_dropout"):
            if rate := getattr(self, name):
                text += f", {name}={rate}"
        text += ", missing=True" * self.missing
        return text + f", min_scale={self.min_scale}, init={self.init!r}, kernel={self.kernel!r}"
