"""Densities of one variable, tabulated: normalised, integrated and inverted.

Of a continuous variable, panels of 16 Gauss-Legendre nodes hold the density as polynomials, so
that all integrals of it are sums. Panels are halved until the last coefficients of their Legendre
series have died away, and added at the ends until there is no mass left.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["LogDensity", "Table", "tabulate"]

# Maps values (v,) to log-densities, each line's up to a constant: (lines, v), float64.
LogDensity = Callable[[Tensor], Tensor]

_NODES = 16
_FIRST = 8  # panels of equal width to begin with; as many are made of quantiles
_MOST = 1000  # panels
_NARROWEST = 2.0**-20  # of the whole width
_NO_MASS = 1e-10  # beyond an end
_MISSED = 8.0  # standard errors by which draws must tell of a mode that was missed
_JUMP = 30.0  # times the tolerance, since all rounding errors of a panel add up at its ends
_LOWEST = -1e300

_points, _weights = np.polynomial.legendre.leggauss(_NODES)
_POINTS, _WEIGHTS = torch.from_numpy(_points), torch.from_numpy(_weights)
_SIGNS = (-1.0) ** torch.arange(_NODES)
_TO_SERIES = torch.from_numpy(np.linalg.inv(np.polynomial.legendre.legvander(_points, _NODES - 1)))


@dataclass(frozen=True)
class Table:
    """A density of one continuous variable: the average of some lines' normalised densities.

    Attributes:
        edges: Of the panels, (P + 1,), float64.
        series: The density's Legendre coefficients in each panel, (P, 16).
        log_masses: What each line is divided by, (lines,).
        means: Each line's mean, (lines,).
        variances: Each line's variance, (lines,).
    """

    edges: Tensor
    series: Tensor
    log_masses: Tensor
    means: Tensor
    variances: Tensor

    def cdf(self, values: Tensor) -> Tensor:
        """Return the mass below values (v,): (v,)."""
        panel = (torch.searchsorted(self.edges, values) - 1).clamp(0, len(self.series) - 1)
        return (self._below()[panel] + self._within(panel, self._place(panel, values))).clamp(0, 1)

    def quantile(self, mass: Tensor) -> Tensor:
        """Return the values (v,) that have so much mass below them, (v,)."""
        below = self._below()
        wanted = mass * below[-1]
        panel = (torch.searchsorted(below, wanted) - 1).clamp(0, len(self.series) - 1)
        wanted = wanted - below[panel]
        low, high = -torch.ones_like(wanted), torch.ones_like(wanted)
        for _ in range(54):  # halvings: to the last bit
            middle = 0.5 * (low + high)
            under = self._within(panel, middle) < wanted
            low, high = torch.where(under, middle, low), torch.where(under, high, middle)
        left, right = self.edges[panel], self.edges[panel + 1]
        return left + 0.5 * (right - left) * (low + 1)

    def _below(self) -> Tensor:
        """Return the mass below each edge: (P + 1,)."""
        masses = self.series[:, 0] * self.edges.diff()
        return torch.cat([torch.zeros_like(masses[:1]), masses.cumsum(0)])

    def _place(self, panel: Tensor, values: Tensor) -> Tensor:
        left, right = self.edges[panel], self.edges[panel + 1]
        return (2 * (values - left) / (right - left) - 1).clamp(-1, 1)

    def _within(self, panel: Tensor, place: Tensor) -> Tensor:
        """Return the mass in panels (v,) to the left of places (v,) from -1 to 1: (v,)."""
        polynomials = [torch.ones_like(place), place]  # Legendre's
        for k in range(1, _NODES):
            last, before = polynomials[-1], polynomials[-2]
            polynomials.append(((2 * k + 1) * place * last - k * before) / (k + 1))
        integrals = [place + 1]  # of them, from -1 on
        integrals += [
            (polynomials[k + 1] - polynomials[k - 1]) / (2 * k + 1) for k in range(1, _NODES)
        ]
        half = 0.5 * (self.edges[panel + 1] - self.edges[panel])
        return half * (self.series[panel] * torch.stack(integrals, -1)).sum(-1)


def tabulate(
    log_density: LogDensity, shares: Tensor, values: Tensor, weights: Tensor, tolerance: float
) -> Table:
    """Tabulate the average of lines' densities, each of them normalised.

    Args:
        log_density: The lines.
        shares: Of the lines in the average, (lines,), float64; they sum to 1.
        values: Draws of the variable, (k,), float64, which show where to look.
        weights: Of the draws, (k,), float64; they sum to 1.
        tolerance: What the last coefficients of a panel may have of the whole mass; some times
            the rounding errors of the density.

    Raises:
        ValueError: If the densities cannot be integrated.
    """
    edges = _first_edges(values, weights)
    logs: dict[tuple[float, float], Tensor] = {}  # of each panel, at its nodes: (lines, 16)
    while True:
        panels = list(itertools.pairwise(edges))
        if new := [panel for panel in panels if panel not in logs]:
            found = log_density(_nodes(new, shares.device).flatten())
            found = found.nan_to_num(_LOWEST).clamp(min=_LOWEST)
            logs.update(zip(new, found.unflatten(1, (-1, _NODES)).unbind(1), strict=True))
        log_p = torch.stack([logs[panel] for panel in panels], 1)  # (lines, P, 16)
        half = 0.5 * torch.tensor([b - a for a, b in panels], dtype=torch.float64)
        half = half.to(shares.device).unsqueeze(1)
        at = half * _WEIGHTS.to(half)  # (P, 16)
        log_masses = (log_p + at.log()).logsumexp((1, 2))
        if not log_masses.isfinite().all() or len(panels) > _MOST:
            raise ValueError("the density along the feature cannot be integrated")
        p = (log_p - log_masses[:, None, None]).exp()
        masses = torch.einsum("l,lpn,pn->p", shares, p, at)
        further = [
            *_ends_with_mass(edges, p, shares),
            *_middles_of_rough(edges, p, shares, half, tolerance),
            *_middles_of_missed(edges, masses, values, weights),
        ]
        if not further:
            break
        edges = sorted({*edges, *further})
    nodes = _nodes(panels, shares.device)
    means = (p * at * nodes).sum((1, 2))
    variances = (p * at * (nodes - means[:, None, None]).square()).sum((1, 2))
    series = torch.einsum("l,lpn,cn->pc", shares, p, _TO_SERIES.to(p))
    table = torch.tensor(edges, dtype=torch.float64, device=shares.device)
    return Table(table, series, log_masses, means, variances)


def _nodes(panels: list[tuple[float, float]], device: torch.device) -> Tensor:
    """Return the nodes of panels: (P, 16)."""
    ends = torch.tensor(panels, dtype=torch.float64, device=device)
    middle, half = ends.mean(1, keepdim=True), 0.5 * ends.diff(dim=1)
    return middle + half * _POINTS.to(device)


def _first_edges(values: Tensor, weights: Tensor) -> list[float]:
    """Return edges over all draws: some in equal distances, and some at their quantiles."""
    low, high = values.min(), values.max()
    width = torch.maximum(high - low, 1e-6 * (1 + low.abs()))
    even = low + width * torch.linspace(0, 1, _FIRST + 1, dtype=torch.float64, device=low.device)
    values, order = values.sort()
    mass = torch.arange(1, _FIRST, dtype=torch.float64, device=low.device) / _FIRST
    at = torch.searchsorted(weights[order].cumsum(0), mass).clamp(max=len(values) - 1)
    both = torch.cat([even, values[at]]).sort().values
    apart = both.diff() > _NARROWEST * width
    return [*both[:-1][apart].tolist(), float(both[-1])]


def _ends_with_mass(edges: list[float], p: Tensor, shares: Tensor) -> list[float]:
    """Return new ends where mass is left beyond; see `_middles_of_rough`."""
    width = edges[-1] - edges[0]
    left, right = (shares @ p[:, [0, -1], [0, -1]] * width > _NO_MASS).tolist()
    return [edges[0] - 0.5 * width] * left + [edges[-1] + 0.5 * width] * right


def _middles_of_rough(
    edges: list[float], p: Tensor, shares: Tensor, half: Tensor, tolerance: float
) -> list[float]:
    """Return the middles of panels whose series does not end, or not where the next begins.

    Args:
        edges: (P + 1).
        p: Each line's density at the nodes, (lines, P, 16).
        shares: Of the lines, (lines,).
        half: Half the panels' widths, (P, 1).
        tolerance: See `tabulate`.
    """
    series = p @ _TO_SERIES.T.to(p)  # (lines, P, 16)
    half = half.squeeze(1)
    rough = (shares @ series[..., -2:].abs().sum(-1)) * half > tolerance
    # All polynomials of Legendre are 1 at the right end, and 1 or -1 at the left one.
    left, right = (series * _SIGNS.to(p)).sum(-1), series.sum(-1)
    jump = shares @ (left[:, 1:] - right[:, :-1]).abs()  # (P - 1,)
    rough[1:] |= jump * half[1:] > _JUMP * tolerance
    rough[:-1] |= jump * half[:-1] > _JUMP * tolerance
    wide = half > 0.5 * _NARROWEST * (edges[-1] - edges[0])
    return [0.5 * (edges[i] + edges[i + 1]) for i in (rough & wide).nonzero().squeeze(1).tolist()]


def _middles_of_missed(
    edges: list[float], masses: Tensor, values: Tensor, weights: Tensor
) -> list[float]:
    """Return the medians of draws within panels that hold many more draws than mass.

    There a narrow mode lies between the nodes.

    Args:
        edges: (P + 1).
        masses: Of the panels, (P,).
        values: Draws, (k,).
        weights: Of the draws, (k,).
    """
    ends = torch.tensor(edges, dtype=torch.float64, device=values.device)
    panel = (torch.searchsorted(ends, values) - 1).clamp(0, len(masses) - 1)
    drawn = torch.zeros_like(masses).index_add_(0, panel, weights)
    noise = torch.zeros_like(masses).index_add_(0, panel, weights.square()).sqrt()
    missed = drawn > masses + _MISSED * noise
    medians = [values[panel == i].median() for i in missed.nonzero().squeeze(1)]
    return [float(median) for median in medians]
