"""The tilted Gaussian: a network's score, turned into a density by a Gaussian base."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ugmm.density.gaps import GaussianSight, complete, fill_gaps
from ugmm.density.gaussian import Gaussian, GaussianMixture
from ugmm.density.mixture import ClassMixture, mixture_of
from ugmm.density.partition import Estimate, by_importance, by_sobol
from ugmm.density.weighing import estimate_marginal, weighted_draws
from ugmm.nn import UGMM, Density, JointScore
from ugmm.nn.checks import check_candidates, check_draws, check_tensors
from ugmm.nn.evidence import Draws, Evidence, Marginal

__all__ = ["KnownScores", "TiltedGaussian"]

_DRAWS = 256  # of what a row lacks, where it is evaluated
_ROWS = 2**14  # with their gaps filled that are scored together


class KnownScores(NamedTuple):
    r"""What is known of rows with gaps, O, under the base, the proposal and the tilt.

    Attributes:
        tilt: :math:`\log \mathrm{E}_{x \sim b(\cdot \mid x_O)} \exp f(x, c)` of every class c,
            (n, C).
        log_base: :math:`\log b(x_O)`, (n,), float64.
        log_ratio: :math:`\log b(x_O) - \log q(x_O)`, (n,), float64.
    """

    tilt: Tensor
    log_base: Tensor
    log_ratio: Tensor


class TiltedGaussian(Density):
    r"""A density of features and label: a Gaussian tilted by the score of a network.

    .. math::
        p(x, y) = \frac{b(x) \exp f(x, y)}{Z}, \qquad
        b = \mathcal N(m, 1.2 \, \hat\Sigma), \qquad
        Z = \int b(x) \sum_c \exp f(x, c) \, dx

    f alone is no log-density: the integral of :math:`\exp f` over :math:`\mathbb{R}^N` is
    infinite (see `ugmm.nn.UGMM`). Under the base, fitted to the training features without their
    labels, Z is finite: with scales of at least :math:`\sigma_\text{min}` the score has an upper
    bound. Z is estimated by `normalize`, which needs a fixed f: a network with dropout or
    BatchNorm must be in evaluation mode.

    Arguments:
        score: f, of the features and the encoded label.
        n_features: D.
        n_classes: C; 1 where there is no label.
        missing: Whether NaN says that a feature is not known; see `expect_missing`.
    """

    _INFLATION = 1.2  # a base with tails beyond the data's own

    log_z: Tensor
    log_z_error: Tensor

    def __init__(
        self, score: JointScore, n_features: int, n_classes: int, missing: bool = False
    ) -> None:
        super().__init__()
        self.score = score
        self.n_features, self.n_classes = n_features, n_classes
        self.base = Gaussian(n_features)
        self.proposal = GaussianMixture(self.base, n_classes)
        self.register_buffer("log_z", torch.tensor(math.nan, dtype=torch.float64))
        self.register_buffer("log_z_error", torch.tensor(math.nan, dtype=torch.float64))
        if missing:
            self.expect_missing()

    def expect_missing(self) -> None:
        """See `Classifier.expect_missing`.

        From now on :meth:`class_scores` of a row with gaps are log p of what is known with each
        class, estimated by 256 draws of what is not: see :meth:`known_scores`. A row of which
        nothing is known has the density's own p(c).
        """
        self.missing = self.init_args["missing"] = True

    def fit_base(self, x: Tensor, y: Tensor) -> None:
        """Fit the base and the proposal to training features (n, D) and labels (n,).

        Of rows with gaps, NaN, to what `ugmm.density.gaps.fill_gaps` makes of them.
        """
        x = fill_gaps(x, y) if self.missing else x
        self.base.fit(x, self._INFLATION)
        self.proposal.fit(x, y)

    def init_from(self, x: Tensor, y: Tensor | None = None) -> None:
        """Set the network's initial parameters, and nothing else; see `JointScore.init_from`."""
        self.score.init_from(x, y)

    def class_scores(self, x: Tensor) -> Tensor:
        """Return log p(x, c) for every class, NaN before `normalize`: (..., D) to (..., C)."""
        check_tensors(x=x)
        if self.missing and x.isnan().any():
            scores = self._known_class_scores(x.reshape(-1, self.n_features))
            return scores.to(x.dtype).reshape(*x.shape[:-1], self.n_classes)
        constant = self.base.log_prob(x) - self.log_z
        return self.score.class_scores(x) + constant.unsqueeze(-1).to(x.dtype)

    @torch.no_grad()
    def posterior(self, x: Tensor) -> Tensor:
        """See `Classifier.posterior`: the score's, which the base would round away far out."""
        if self.missing and x.isnan().any():
            return super().posterior(x)
        return self.score.posterior(x)

    def predict(self, x: Tensor) -> Tensor:
        """See `Classifier.predict`."""
        return self.posterior(x).argmax(-1)

    def _known_class_scores(self, x: Tensor) -> Tensor:
        """Return log p of what is known of rows (n, D), and every class: (n, C), float64."""
        generator = torch.Generator().manual_seed(0)
        scores = []
        for part in x.split(_ROWS // _DRAWS):
            seen = self.known_scores(part, _DRAWS, None, generator)
            scores.append(seen.tilt.double() + (seen.log_base - self.log_z).unsqueeze(-1))
        found, nothing = torch.cat(scores), x.isnan().all(-1)
        if nothing.any():  # p(c), for which there are as many draws as all others have together
            prior = self.known_scores(x[nothing][:1], _ROWS, None, generator).tilt.log_softmax(-1)
            found = torch.where(nothing.unsqueeze(-1), prior.double(), found)
        return found

    def known_scores(
        self,
        x: Tensor,
        k: int,
        y: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> KnownScores:
        r"""Return how probable is what is known of rows with gaps, by draws of what is not.

        .. math::
            \log Z p(x_O, c) = \log b(x_O)
                + \log \mathrm{E}_{x_M \sim b(\cdot \mid x_O)} \exp f(x_O, x_M, c)

        The expectation is the mean of k weighted draws (`ugmm.density.gaps.complete`): its
        logarithm is too small by about half of its relative variance, a bound that training can
        follow.

        Args:
            x: (n, D), NaN where a feature is missing.
            k: Number of draws for each row.
            y: Labels (n,), whose scores alone are asked for: quicker to be right.
            generator: On the CPU; by default, torch's own.
        """
        done = complete(self.proposal, x, k, y, generator)
        scores = self.score.class_scores(done.x.to(self._dtype()).flatten(0, 1))
        weighed = scores.unflatten(0, (len(x), k)) + done.log_ratio.unsqueeze(-1).to(scores)
        tilt = weighed.logsumexp(1) - math.log(k)
        return KnownScores(tilt, done.log_base, done.log_base - done.log_proposal)

    def log_base(self, x: Tensor) -> Tensor:
        """Return log b of what is known of rows: (n, D) to (n,), float64."""
        return GaussianSight(self.base, x).log_known if self.missing else self.base.log_prob(x)

    def coordinate_scores(
        self, x: Tensor, values: Tensor, coordinates: Tensor | None = None
    ) -> Tensor:
        """See `Classifier.coordinate_scores`: log p(x, c), as `class_scores` has it."""
        if self.missing:  # and averaged over, in whole rows
            return super().coordinate_scores(x, values, coordinates)
        scores = self.score.coordinate_scores(x, values, coordinates)
        coordinates, values = check_candidates(x, values, coordinates)
        base = self.base.coordinate_log_prob(x.reshape(-1, x.shape[-1]), values, coordinates)
        constant = (base - self.log_z).reshape(scores.shape[:-1])
        return scores + constant.unsqueeze(-1).to(x.dtype)

    def log_ratio(self, x: Tensor) -> Tensor:
        """Return log b(x) - log q(x), at most log 2: (..., D) to (...), float64."""
        return self.base.log_prob(x) - self.proposal.log_prob(x)

    def log_weight(self, x: Tensor) -> Tensor:
        r"""Return :math:`\log (b(x) \sum_c \exp f(x, c) / q(x))`: (..., D) to (...), float64."""
        scores = self.score.class_scores(x.to(self._dtype())).double()
        return scores.logsumexp(-1) + self.log_ratio(x)

    def normalize(self, n: int = 2**16, seed: int = 0) -> Estimate:
        """Estimate Z by importance sampling from the proposal and keep it.

        Z of a network of one layer is known exactly: its error is 0.

        Args:
            n: Number of draws.
            seed: Seed of the draws: with the same one, the same network has the same Z.
        """
        with self.score.prepared():
            if exact := self.mixture():
                estimate = Estimate(float(exact.log_z), 0.0, 1.0)
            else:
                estimate = by_importance(self.log_weight, self.proposal, n, seed)
        self.log_z.fill_(estimate.value)
        self.log_z_error.fill_(estimate.error)
        return estimate

    def second_estimate(self, n: int = 2**16, seed: int = 0) -> Estimate:
        """Estimate Z from scrambled Sobol points, to check `normalize`, and keep nothing."""
        with self.score.prepared():
            return by_sobol(self.log_weight, self.proposal, n, seed)

    @torch.no_grad()
    def mixture(self) -> ClassMixture | None:
        """Return the mixture of Gaussians that this is, if the network has one layer; else None.

        What is asked of such a density is answered by the mixture, exactly.
        """
        return mixture_of(self.score, self.base)

    @torch.no_grad()
    def sample(
        self, n: int, steps: int = 200, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw features (n, D) and labels (n,) by n chains of independence Metropolis-Hastings.

        A chain's distance from p in total variation falls as :math:`(1 - 1/B)^t` with B the
        largest :math:`p/q` (L. Tierney, Ann. Statist. 22 (1994), corollary 4): with this proposal
        B is finite, so a chain converges from any start. A `mixture` is drawn from as such.

        Args:
            n: Number of draws.
            steps: Steps of each chain.
            generator: Source of randomness, on the CPU; by default, torch's own.
        """
        check_draws(n)
        if mixture := self.mixture():
            x, y = mixture.sample(n, generator)
            return x.to(self._dtype()), y
        with self.score.prepared():
            x = self._chains(n, steps, generator).to(self._dtype())
            posterior = self.score.posterior(x).cpu()
        y = torch.multinomial(posterior, 1, generator=generator).squeeze(-1)
        return x, y.to(x.device)

    def _chains(self, n: int, steps: int, generator: torch.Generator | None) -> Tensor:
        """Return the features (n, D) that n chains of `sample` end at."""
        x = self.proposal.sample(n, generator)[torch.randperm(n, generator=generator)]
        weight = self.log_weight(x)
        for _ in range(steps):
            # They come sorted by the proposal's parts; shuffled, any part may meet any chain.
            new = self.proposal.sample(n, generator)[torch.randperm(n, generator=generator)]
            new_weight = self.log_weight(new)
            chance = torch.rand(n, generator=generator, dtype=x.dtype).to(x.device)
            taken = chance.log() < new_weight - weight
            x = torch.where(taken.unsqueeze(-1), new, x)
            weight = torch.where(taken, new_weight, weight)
        return x

    def marginal(self, evidence: Evidence, n: int, generator: torch.Generator) -> Marginal:
        """Return log p of each row's evidence, of a `mixture` exactly; else, see `estimate`.

        Raises:
            ValueError: If the evidence is not of this density's features and classes, or the
                density cannot answer: Z is not known, or f is not fixed.
        """
        self._check_queries(evidence)
        mixture = self.mixture()
        return mixture.marginal(evidence) if mixture else self.estimate(evidence, n, generator)

    def draw(self, evidence: Evidence, n: int, generator: torch.Generator) -> Draws:
        """Return n draws for each row of the evidence, exact ones of a `mixture`; see `weigh`.

        Raises:
            ValueError: See `marginal`.
        """
        self._check_queries(evidence)
        if mixture := self.mixture():
            return mixture.draw(evidence, n, generator)
        return self.weigh(evidence, n, generator)

    def estimate(self, evidence: Evidence, n: int, generator: torch.Generator) -> Marginal:
        """Return log p of each row's evidence as `weighing.estimate_marginal` estimates it.

        The error is its own and that of log Z, which is `Marginal.shared`. Where everything is
        known there is no other; where nothing is, the answer is 0, exactly.

        Args:
            evidence: Of m rows.
            n: Number of points for each.
            generator: On the CPU.
        """
        found = estimate_marginal(self.score, self.proposal, evidence, n, generator)
        return self._over_z(found, evidence)

    def weigh(self, evidence: Evidence, n: int, generator: torch.Generator) -> Draws:
        """Return n weighted draws for each row of the evidence; see `weighing.weighted_draws`.

        Args:
            evidence: Of m rows.
            n: Number of draws for each.
            generator: On the CPU.
        """
        found = weighted_draws(self.score, self.proposal, evidence, n, generator)
        return found._replace(marginal=self._over_z(found.marginal, evidence))

    def _over_z(self, found: Marginal, evidence: Evidence) -> Marginal:
        """Return log p from log Z p."""
        log_prob, own, effective, _, _ = found
        nothing = evidence.is_empty().to(own.device)
        shared = self.log_z_error.double().expand_as(own).masked_fill(nothing, 0)
        error = torch.hypot(own.masked_fill(nothing, 0), shared)
        log_prob = (log_prob - self.log_z).masked_fill(nothing, 0)
        effective = effective.masked_fill(nothing, 1)
        return Marginal(log_prob, error, effective, not error.any(), shared)

    def _check_queries(self, evidence: Evidence) -> None:
        evidence.check(self.n_features, self.n_classes)
        if self.log_z.isnan():
            raise ValueError("the density's Z is not known; call normalize() first")
        if any(_is_random(module) for module in self.score.modules()):
            raise ValueError("dropout changes the density from call to call; call eval() first")

    def extra_repr(self) -> str:
        """Describe the density in `repr`."""
        return f"n_features={self.n_features}, n_classes={self.n_classes}"

    def _dtype(self) -> torch.dtype:
        return next(self.score.parameters()).dtype


def _is_random(module: nn.Module) -> bool:
    """Return whether a module's outputs depend on what was drawn, or on the rest of a batch."""
    if not module.training:
        return False
    dropout = isinstance(module, UGMM) and bool(module.dropout or module.input_dropout)
    return dropout or isinstance(module, nn.BatchNorm1d | nn.Dropout)
