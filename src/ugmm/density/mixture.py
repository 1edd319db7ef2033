"""Classes that mix Gaussians, of which everything has a closed form; one of them is a network."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ugmm.density.conditional import ConditionalGaussians
from ugmm.density.gaussian import Gaussian
from ugmm.nn import UGMM, JointScore, UGMMNetwork
from ugmm.nn.checks import check_positive
from ugmm.nn.evidence import Draws, Evidence, Marginal

__all__ = ["ClassMixture", "mixture_of"]

_NUMBERS = 2**22  # of all Gaussians' conditional means that are computed together
_MOST_FEATURES = 256  # of a network that is taken as a mixture: D matrices of D x D


class ClassMixture:
    r"""C classes that mix the same K Gaussians, in float64.

    .. math::
        p(x, c) = \frac{1}{Z} \sum_{k=1}^{K} w_{ck} \, \mathcal N(x; m_k, L_k L_k'), \qquad
        Z = \sum_{c, k} w_{ck}

    Arguments:
        log_weights: log w, (C, K), -inf where a class has no share of a Gaussian.
        means: (K, D).
        trils: The covariances' lower Cholesky factors, (K, D, D).

    Attributes:
        log_z: log Z.
        log_weights: log w - log Z.
    """

    def __init__(self, log_weights: Tensor, means: Tensor, trils: Tensor) -> None:
        self.log_z = log_weights.flatten().logsumexp(0)
        self.log_weights, self.means, self.trils = log_weights - self.log_z, means, trils

    def class_scores(self, evidence: Evidence) -> Tensor:
        """Return log p of what is known, with every class that a row's label leaves: (m, C)."""
        found = self.means.new_empty(len(evidence), len(self.log_weights))
        for numbers, _, joint, _, _ in self._groups(evidence):
            found[numbers] = joint.logsumexp(1)
        return found

    def marginal(self, evidence: Evidence) -> Marginal:
        """Return log p of each row's evidence, exactly."""
        return _exact(evidence, self.class_scores(evidence).logsumexp(1))

    @torch.no_grad()
    def draw(self, evidence: Evidence, n: int, generator: torch.Generator) -> Draws:
        """Return n independent draws of whole rows for each row of the evidence: equal weights.

        Args:
            evidence: Of m rows.
            n: Number of draws for each.
            generator: On the CPU.
        """
        check_positive(n=n)
        evidence = evidence.to(self.means.device)
        device, m = self.means.device, len(evidence)
        x = evidence.x.unsqueeze(1).repeat(1, n, 1)
        y = torch.empty(m, n, dtype=torch.long, device=device)
        log_prob = self.means.new_empty(m)
        for numbers, _, joint, means, gaussians in self._groups(evidence, n):
            log_prob[numbers] = joint.flatten(1).logsumexp(1)
            share = joint.flatten(1).softmax(1).cpu()
            chosen = torch.multinomial(share, n, replacement=True, generator=generator).to(device)
            k, y[numbers] = chosen // joint.shape[2], chosen % joint.shape[2]
            shape = (*k.shape, len(gaussians.free))
            normal = torch.randn(shape, generator=generator, dtype=torch.float64).to(device)
            for each in k.unique():
                at = k == each
                normal[at] = normal[at] @ gaussians.free_tril[each].mT
            rows = torch.arange(len(k), device=device).unsqueeze(1)
            free = (means[rows, k] + normal).to(x.dtype)
            x[numbers[:, None], :, gaussians.free] = free.transpose(1, 2)
        even = x.new_full((m, n), -math.log(n), dtype=torch.float64)
        return Draws(x, y, even, _exact(evidence, log_prob))

    def conditional_moments(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """Return means (m, D) and covariances (m, D, D) of whole rows, given evidence of m rows.

        What is known has itself as its mean, and no variance.
        """
        n_features = self.means.shape[1]
        mean = evidence.x.to(self.means)
        covariance = mean.new_zeros(len(evidence), n_features, n_features)
        for numbers, _, joint, means, gaussians in self._groups(evidence, n_features):
            share = joint.logsumexp(2).softmax(1)  # (m, K)
            whole = torch.einsum("mk,mkb->mb", share, means)
            off = means - whole.unsqueeze(1)
            inner = gaussians.free_tril @ gaussians.free_tril.mT
            total = torch.einsum("mk,kab->mab", share, inner)
            total = total + torch.einsum("mk,mka,mkb->mab", share, off, off)
            free = gaussians.free
            mean[numbers[:, None], free] = whole
            covariance[numbers[:, None, None], free[:, None], free] = total
        return mean, covariance

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw features (n, D), float64, and labels (n,).

        Args:
            n: Number of draws; none may be drawn, too.
            generator: Source of randomness, on the CPU; by default, torch's own.
        """
        nothing = Evidence.nothing(self.means.shape[1], n).to(dtype=torch.float64)
        drawn = self.draw(nothing, 1, generator or torch.default_generator)
        return drawn.x[:, 0], drawn.y[:, 0]

    def _groups(
        self, evidence: Evidence, n: int = 1
    ) -> Iterator[tuple[Tensor, Evidence, Tensor, Tensor, ConditionalGaussians]]:
        """Yield rows that share a mask, as few at a time as memory asks for.

        Yields:
            Their numbers; the rows; log p of what is known with each Gaussian and class that a
            row's label leaves, (m, K, C); the Gaussians' conditional means, (m, K, b), and the
            Gaussians themselves.
        """
        evidence = evidence.to(self.means.device)
        components, n_features = self.means.shape
        most = max(1, _NUMBERS // (max(components, n) * n_features))
        for mask, numbers in evidence.patterns():
            gaussians = ConditionalGaussians(self.means, self.trils, mask)
            for some in numbers.split(most):
                rows = evidence[some]
                log_known, means = gaussians.given(rows.x)
                joint = rows.restrict(log_known.unsqueeze(2) + self.log_weights.T)
                yield some, rows, joint, means, gaussians


def _exact(evidence: Evidence, log_prob: Tensor) -> Marginal:
    empty = evidence.is_empty().to(log_prob.device)
    return Marginal.exact(log_prob.masked_fill(empty, 0))  # rounding aside


def mixture_of(score: JointScore, base: Gaussian) -> ClassMixture | None:
    r"""Return the mixture that a Gaussian tilted by a network of one layer is; its Z is the same.

    Component k of the one neuron looks at one feature, so it is the likelihood of an observation
    of that feature that is off by :math:`s_k`: tilted by it, the base
    :math:`b = \mathcal N(m, S)` is b given that :math:`x_k + s_k \epsilon = \mu_k`,

    .. math::
        \pi_k \mathcal N(x_k; \mu_k, s_k^2) \, b(x) =
        \pi_k \mathcal N(\mu_k; m_k, S_{kk} + s_k^2) \; \mathcal N\Big(x;
            m + \tfrac{\mu_k - m_k}{S_{kk} + s_k^2} S e_k,
            S - \tfrac{1}{S_{kk} + s_k^2} S e_k e_k' S \Big)

    and components that look at the label's code weigh the base itself.

    Args:
        score: f.
        base: b.

    Returns:
        None if the network is another one, or so wide that the mixture would be large.
    """
    network, d = score.network, len(base.mean)
    if not isinstance(network, UGMMNetwork) or len(network.layers) > 1 or d > _MOST_FEATURES:
        return None
    if network.head_name != "mixture":
        return None
    layer = network.layers[0]
    assert isinstance(layer, UGMM)
    loc, scale = layer.loc[0].double(), layer.scale[0].double()
    log_pi = layer.logits[0].double().log_softmax(0)
    codes = score.codes.double()
    log_codes = log_pi[d:] + torch.distributions.Normal(loc[d:], scale[d:]).log_prob(codes)

    # Features and one observation; what was observed is the origin.
    mean, tril = base.mean.double(), base.tril.double()
    means = torch.cat([mean.expand(d, d), (mean - loc[:d]).unsqueeze(1)], 1)
    trils = tril.new_zeros(d, d + 1, d + 1)
    trils[:, :d, :d], trils[:, d, :d], trils[:, d, d] = tril, tril, scale[:d]
    observed = torch.arange(d + 1) == d
    gaussians = ConditionalGaussians(means, trils, observed)
    log_evidence, given = gaussians.given(mean.new_zeros(1, d + 1))

    of_features = (log_pi[:d] + log_evidence[0]).expand(len(codes), -1)
    of_codes = log_codes.logsumexp(1, keepdim=True)
    log_weights = torch.cat([of_codes, of_features], 1)
    means = torch.cat([mean.unsqueeze(0), given[0]])
    trils = torch.cat([tril.unsqueeze(0), gaussians.free_tril])
    return ClassMixture(log_weights, means, trils)
