"""Gaussians of which some variables are known, and a proposal for the others made of them."""

import math

import torch
from torch import Tensor

from ugmm.nn.evidence import Evidence

__all__ = ["ConditionalGaussians", "DefensiveConditional"]


class ConditionalGaussians:
    r"""K Gaussians, conditioned on rows of evidence that share a mask.

    With the known variables A before the free ones B, each covariance has a Cholesky factor

    .. math::
        \begin{pmatrix} L_A & 0 \\ L_{BA} & L_B \end{pmatrix}

    by which :math:`x_A = m_A + L_A z` has the density of z over :math:`|L_A|`, and
    :math:`x_B \mid x_A \sim \mathcal N(m_B + L_{BA} z, L_B L_B')`. It is found by a QR
    decomposition of the factor that is given, so that nothing is squared and subtracted.

    Arguments:
        means: (K, D), float64.
        trils: Lower Cholesky factors of the covariances, (K, D, D), float64.
        known: The mask A, (D,).

    Attributes:
        known: The numbers of the known variables, (a,).
        free: Those of the free ones, (b,).
        free_tril: :math:`L_B`, (K, b, b).
    """

    def __init__(self, means: Tensor, trils: Tensor, known: Tensor) -> None:
        known = known.to(means.device)
        self.known, self.free = known.nonzero().squeeze(1), (~known).nonzero().squeeze(1)
        a = len(self.known)
        self.known_means, self.free_means = means[:, self.known], means[:, self.free]
        tril = trils
        if a and len(self.free):
            order = torch.cat([self.known, self.free])
            upper = torch.linalg.qr(trils[:, order].mT, mode="r").R
            signs = upper.diagonal(dim1=-2, dim2=-1).sign()
            tril = upper.mT * signs.unsqueeze(-2)
        self._known_tril, self._gain = tril[:, :a, :a], tril[:, a:, :a]
        self.free_tril = tril[:, a:, a:]

    def given(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return how the Gaussians see rows.

        Args:
            x: (m, D); what it holds in the place of free variables does not matter.

        Returns:
            The log-densities of the known variables, (m, K), and the means of the free ones given
            them, (m, K, b), both float64.
        """
        centred = x.double()[:, self.known] - self.known_means.unsqueeze(1)  # (K, m, a)
        white = torch.linalg.solve_triangular(self._known_tril, centred.mT, upper=False)
        means = (self._gain @ white).mT + self.free_means.unsqueeze(1)
        return _log_density(white.mT, self._known_tril).T, means.transpose(0, 1)

    def colour(self, normal: Tensor) -> Tensor:
        """Map standard normal numbers (..., b) to deviations from each mean, (K, ..., b)."""
        flat = normal.flatten(0, -2) @ self.free_tril.mT
        return flat.reshape(len(flat), *normal.shape)

    def log_prob(self, deviations: Tensor) -> Tensor:
        """Return each Gaussian's log-density of free variables that deviate so from its mean.

        Args:
            deviations: (K, ..., b).

        Returns:
            (K, ...).
        """
        flat = deviations.flatten(1, -2)
        white = torch.linalg.solve_triangular(self.free_tril, flat.mT, upper=False).mT
        return _log_density(white, self.free_tril).reshape(deviations.shape[:-1])


def _log_density(white: Tensor, trils: Tensor) -> Tensor:
    """Return log-densities, (K, n), from whitened deviations (K, n, d)."""
    log_det = trils.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
    return -0.5 * white.square().sum(-1) - log_det - 0.5 * trils.shape[-1] * math.log(2 * math.pi)


class DefensiveConditional:
    r"""A proposal for free variables: half the base's conditional, half those of the classes.

    .. math::
        q(x_B \mid x_A) = \tfrac12 b(x_B \mid x_A) + \tfrac12 \sum_c r_c(x_A) N_c(x_B \mid x_A),
        \qquad r_c(x_A) \propto N_c(x_A)

    Conditioned plainly, a mixture would leave the base no share where the classes are
    sure; here :math:`b / q \le 2` whatever is known. A class that a label rules out has no share.

    Arguments:
        parts: The base's and the classes' Gaussians, conditioned on the rows' mask.
        rows: Evidence of that mask, m rows.

    Attributes:
        free: The numbers of the free variables, (b,).
        log_base: log b(x_A), (m,), float64.
    """

    def __init__(self, parts: ConditionalGaussians, rows: Evidence) -> None:
        self._parts, self.free = parts, parts.free
        log_known, self._means = parts.given(rows.x)
        self.log_base = log_known[:, 0]
        classes = 0.5 * rows.restrict(log_known[:, 1:]).softmax(1)
        self.shares = torch.cat([torch.full_like(classes[:, :1], 0.5), classes], 1)  # (m, 1 + C)

    def place(self, choice: Tensor, normal: Tensor) -> Tensor:
        """Turn random numbers into draws, k for each row.

        Args:
            choice: In [0, 1): by it a draw's part is chosen, (k,), or (m, k) for each row its own.
            normal: Standard normal, (k, b) or (m, k, b).

        Returns:
            (m, k, b), float64.
        """
        edges = self.shares.cumsum(1)[:, :-1].unsqueeze(1)
        part = (choice.unsqueeze(-1) >= edges).sum(-1)  # (m, k)
        each = torch.arange(part.shape[1], device=part.device)
        rows = torch.arange(len(part), device=part.device).unsqueeze(1)
        coloured = self._parts.colour(normal)
        deviation = coloured[part, each] if normal.dim() == 2 else coloured[part, rows, each]
        return self._means[rows, part] + deviation

    def log_ratio(self, free: Tensor) -> Tensor:
        """Return log b - log q of free variables, at most log 2: (m, k, b) to (m, k)."""
        deviations = free.unsqueeze(0) - self._means.transpose(0, 1).unsqueeze(2)
        logs = self._parts.log_prob(deviations)  # (1 + C, m, k)
        mixed = (logs + self.shares.log().T.unsqueeze(-1)).logsumexp(0)
        return logs[0] - mixed
