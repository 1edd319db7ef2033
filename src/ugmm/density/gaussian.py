"""Gaussians fitted to data, in float64: the base and the proposal of a tilted Gaussian."""

import math

import torch
from torch import Tensor, nn

from ugmm.nn.checks import check_positive
from ugmm.nn.labels import count_labels

__all__ = ["Gaussian", "GaussianMixture", "covariance"]

# Added to every variance. Features are standardised: a constant one still gets a density.
_LEAST_VARIANCE = 1e-4
_INTENSITIES = torch.cat([torch.zeros(1), torch.logspace(-4, 0, 25)]).double()


def covariance(x: Tensor) -> Tensor:
    r"""Return the covariance of rows, shrunk as leaving each row out suggests, above a floor.

    .. math::
        \hat\Sigma_\rho = (1 - \rho) S + \rho \, \tfrac{\operatorname{tr} S}{D} I + 10^{-4} I

    Of 26 intensities :math:`\rho` from 0 to 1, it takes the one that maximises the likelihood of
    each row under the Gaussian of all the others (J. Hoffbeck and D. Landgrebe, *Covariance matrix
    estimation and classification with limited training data*, IEEE PAMI 18 (1996)). Ledoit and
    Wolf's intensity minimises the squared error instead, to which directions of small variance
    matter little: on Iris it more than doubles the narrowest one's variance, which costs a density
    dearly.

    Args:
        x: (n, D) with at least one row.

    Returns:
        (D, D), float64.
    """
    x = x.double() - x.double().mean(0)
    n = len(x)
    values, vectors = torch.linalg.eigh(x.T @ x / n)
    values = values.clamp(min=0)
    target = values.mean()
    rho = 0.0 if n < 3 else _intensity((x @ vectors).square(), values, target)
    shrunk = (1 - rho) * values + rho * target + _LEAST_VARIANCE
    return vectors * shrunk @ vectors.T


def _intensity(squares: Tensor, values: Tensor, target: Tensor) -> Tensor:
    r"""Return the best of `_INTENSITIES`.

    Without row :math:`x_i` the mean is :math:`-x_i / (n - 1)` and
    :math:`S_{-i} = \frac{n}{n-1} S - \frac{n}{(n-1)^2} x_i x_i'`: the matrix determinant lemma and
    the Sherman-Morrison formula give all of them from S, diagonal in its own eigenvectors.

    Args:
        squares: Squared coordinates of the centred rows along the eigenvectors of S, (n, D).
        values: Eigenvalues of S, (D,).
        target: The mean of the eigenvalues.
    """
    n, intensities = len(squares), _INTENSITIES.to(squares.device)
    rho = intensities.unsqueeze(1)
    whole = (1 - rho) * n / (n - 1) * values + rho * target + _LEAST_VARIANCE  # (intensities, D)
    distance = squares @ (1 / whole).T  # (n, intensities)
    left = 1 - (1 - intensities) * n / (n - 1) ** 2 * distance
    left = left.clamp(min=torch.finfo(left.dtype).eps)  # positive but for rounding errors
    cost = left.log() + (n / (n - 1)) ** 2 * distance / left
    return intensities.take((whole.log().sum(1) + cost.mean(0)).argmin())


class Gaussian(nn.Module):
    """A Gaussian in D dimensions: fitted, not trained, and a standard normal before that.

    Arguments:
        n_features: D.
    """

    mean: Tensor
    tril: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        check_positive(n_features=n_features)
        self.register_buffer("mean", torch.zeros(n_features, dtype=torch.float64))
        self.register_buffer("tril", torch.eye(n_features, dtype=torch.float64))

    def fit(self, x: Tensor, inflation: float = 1.0) -> None:
        """Fit the mean of rows (n, D), and `inflation` times their `covariance`."""
        self.mean.copy_(x.double().mean(0))
        self.tril.copy_(torch.linalg.cholesky(inflation * covariance(x)))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of x (..., D), in nats: (...), float64."""
        z = self.whiten(x)
        log_det = self.tril.double().diagonal().log().sum()
        return -0.5 * z.square().sum(-1) - log_det - 0.5 * x.shape[-1] * math.log(2 * math.pi)

    def coordinate_log_prob(self, x: Tensor, values: Tensor, coordinates: Tensor) -> Tensor:
        """Return the log-densities where one feature has other values, each in turn.

        Args:
            x: (n, D).
            values: Candidates, (n, C, G) or (1, C, G).
            coordinates: Which features are replaced, (C,).

        Returns:
            (n, C, G), in nats, float64.
        """
        # Whitened, a row moves along one column of the inverse triangle.
        tril, picked = self.tril.double(), coordinates.unsqueeze(0)
        unit = torch.zeros(len(tril), len(coordinates), dtype=tril.dtype, device=tril.device)
        column = torch.linalg.solve_triangular(tril, unit.scatter(0, picked, 1.0), upper=False)
        step = values.double() - x[:, coordinates].double().unsqueeze(-1)
        slope = (self.whiten(x) @ column).unsqueeze(-1)
        bend = 0.5 * column.square().sum(0).unsqueeze(-1)
        return self.log_prob(x)[:, None, None] - step * (slope + step * bend)

    def whiten(self, x: Tensor) -> Tensor:
        """Undo `colour`: map draws (..., D) of this Gaussian to the standard one's, float64."""
        rows = (x.double() - self.mean.double()).reshape(-1, x.shape[-1])
        white = torch.linalg.solve_triangular(self.tril.double(), rows.T, upper=False)
        return white.T.reshape(x.shape)

    def colour(self, normal: Tensor) -> Tensor:
        """Map draws (..., D) of the standard Gaussian to draws of this one, float64."""
        return normal.double() @ self.tril.double().T + self.mean.double()

    def extra_repr(self) -> str:
        """Describe the Gaussian in `repr`."""
        return f"n_features={len(self.mean)}"


class GaussianMixture(nn.Module):
    r"""A defensive proposal: half the base, half the classes' own Gaussians, made wider.

    .. math::
        q(x) = \tfrac12 b(x) + \tfrac1{2C} \sum_c \mathcal N(x; m_c, 1.5 \, S_c)

    Whatever the classes look like, :math:`b / q \le 2`, which keeps importance weights bounded.

    Arguments:
        base: The Gaussian b, fitted elsewhere.
        n_classes: C.
    """

    _INFLATION = 1.5

    def __init__(self, base: Gaussian, n_classes: int) -> None:
        super().__init__()
        check_positive(n_classes=n_classes)
        n_features = len(base.mean)
        parts = [base, *(Gaussian(n_features) for _ in range(n_classes))]
        self.parts = nn.ModuleList(parts)
        shares = torch.tensor([0.5] + [0.5 / n_classes] * n_classes, dtype=torch.float64)
        self.register_buffer("shares", shares, persistent=False)

    shares: Tensor

    def fit(self, x: Tensor, y: Tensor) -> None:
        """Fit each class's Gaussian to its own rows, or to all where it has none.

        Args:
            x: Rows, (n, D).
            y: Labels, (n,).

        Raises:
            IndexError: If a label is not from 0 to C - 1.
        """
        parts = self.parts[1:]
        for c, n in enumerate(count_labels(y, len(parts))):
            parts[c].fit(x[y == c] if n else x, self._INFLATION)  # type: ignore[operator]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of x (..., D), in nats: (...), float64."""
        parts = torch.stack([part.log_prob(x) for part in self.parts], -1)  # type: ignore[operator]
        return (parts + self.shares.double().log()).logsumexp(-1)

    def place(self, choice: Tensor, normal: Tensor) -> Tensor:
        """Turn numbers in [0, 1), (n,), and standard normal ones, (n, D), into draws (n, D)."""
        edges = self.shares.double().cumsum(0)[:-1]
        part = torch.bucketize(choice.double().contiguous(), edges, right=True)
        draws = torch.empty_like(normal, dtype=torch.float64)
        for index, gaussian in enumerate(self.parts):
            rows = part == index
            draws[rows] = gaussian.colour(normal[rows])  # type: ignore[operator]
        return draws

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw (n, D), float64.

        Args:
            n: Number of draws.
            generator: Source of randomness, on any device; by default, torch's own on the CPU.
        """
        device, width = self.shares.device, len(self.parts[0].mean)  # type: ignore[arg-type]
        on = torch.device("cpu") if generator is None else generator.device
        # Evenly spread choices: each part gets its exact share of the draws, not only on average.
        choice = (torch.arange(n) + torch.rand(n, generator=generator, device=on).cpu()) / n
        normal = torch.randn(n, width, generator=generator, dtype=torch.float64, device=on)
        return self.place(choice.to(device), normal.to(device))
