"""The conditional of several features: a ratio of marginals, and a cloud of weighted draws."""

import torch
from torch import Tensor

from ugmm.inference.asking import Asked, generator_of
from ugmm.inference.conditionals.lines import exactly_given
from ugmm.inference.conditionals.rows import RowConditional
from ugmm.inference.samples import by_importance
from ugmm.inference.weights import draws_of, effective, error_factor
from ugmm.nn.evidence import Evidence, InOrders

__all__ = ["Cloud"]


class Cloud(RowConditional):
    """The conditional of several features, given one row of evidence.

    Densities are p(query, evidence) / p(evidence). Moments and quantiles are each feature's own
    where these are exact, else those of draws.

    Arguments:
        density: Of D features.
        row: One row.
        features: Their numbers, (m,).
        n: Draws for each answer.
        seed: Seed of the marginals.
        generator: Source of the draws, on the CPU.
    """

    def __init__(
        self,
        density: Asked,
        row: Evidence,
        features: Tensor,
        n: int,
        seed: int,
        generator: torch.Generator,
    ) -> None:
        self._density, self._row, self._features = density, row, features
        self._n, self._seed = n, seed
        draws = draws_of(density, row, n, generator)
        self._x, weight = draws.x[0][:, features].double(), draws.log_weight[0].exp()
        self._weight, self._factor = weight, error_factor(draws)
        self.effective = min(1.0, effective(draws) / n)
        self.mean, self.mean_error = self._average(self._x)
        centred = (self._x - self.mean).square()
        self.variance, self.variance_error = self._average(centred)
        self.is_exact = False
        self._single: list[RowConditional] = []
        self._take_exact_moments(generator)

    def _take_exact_moments(self, generator: torch.Generator) -> None:
        """Take each feature's own moments instead of the draws', if all are exact."""
        for feature in self._features.tolist():
            one = exactly_given(self._density, self._row, feature, self._n, generator)
            if one is None:
                return
            self._single.append(one)
        self.mean = torch.cat([one.mean for one in self._single])
        self.variance = torch.cat([one.variance for one in self._single])
        self.mean_error = self.variance_error = torch.zeros_like(self.mean)
        self.effective, self.is_exact = 1.0, True

    def _average(self, each: Tensor) -> tuple[Tensor, Tensor]:
        """Return the draws' average of values (n, m), and its standard error: (m,) each."""
        mean = self._weight @ each
        return mean, (self._weight.square() @ (each - mean).square()).sqrt() * self._factor

    def log_prob(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """See `RowConditional.log_prob`."""
        if isinstance(self._density, InOrders) and self._density.orders is not None:
            return self._by_orders(values)
        rows = self._row[torch.zeros(len(values), dtype=torch.long)]
        rows = rows.with_features(self._features, values)
        above = self._density.marginal(rows, self._n, generator_of(self._seed))
        below = self._density.marginal(self._row, self._n, generator_of(self._seed))
        return above.log_prob - below.log_prob, above.error_over(below)

    def _by_orders(self, values: Tensor) -> tuple[Tensor, Tensor]:
        density: InOrders = self._density  # type: ignore[assignment]
        log_share, each = density.by_orders(self._row, self._features, values)
        log_share = log_share.log_softmax(0).unsqueeze(1)
        log_prob = (log_share + each).logsumexp(0)
        return log_prob, (each - log_prob).square().mean(0).sqrt()

    def quantile(self, mass: Tensor) -> Tensor:
        """See `RowConditional.quantile`."""
        if self.is_exact:
            return torch.cat([one.quantile(mass) for one in self._single], 1)
        x, order = self._x.sort(0)
        below = self._weight[order].cumsum(0)  # (n, m)
        at = torch.searchsorted(below.T.contiguous(), mass.expand(x.shape[1], -1).contiguous())
        return x.gather(0, at.clamp(max=len(x) - 1).T)

    def sample(self, k: int, generator: torch.Generator) -> Tensor:
        """See `RowConditional.sample`."""
        drawn = by_importance(self._density, self._row, k, generator)
        assert drawn is not None
        return drawn.x[:, self._features].double()
