"""Small densities whose every answer is known: a mixture of Gaussians, a table of binary rows."""

import itertools
import math

import torch
from torch.distributions import MultivariateNormal

from ugmm.nn import Density
from ugmm.nn.evidence import Draws, Evidence, Marginal


def _joined(marginals, is_exact):
    parts = zip(*(marginal[:3] for marginal in marginals), strict=True)
    return Marginal(*map(torch.cat, parts), is_exact)


class GaussianPerClass(Density):
    """A Gaussian for each class, with equal shares; `forced` hides that all answers are exact.

    Its weighted draws come from a single wide Gaussian around the centre then.
    """

    def __init__(self, means, covariances, *, forced=False, width=3.0):
        super().__init__()
        self.register_buffer("means", torch.as_tensor(means, dtype=torch.float64))
        self.register_buffer("covariances", torch.as_tensor(covariances, dtype=torch.float64))
        self.n_classes, self.n_features = self.means.shape
        self.forced, self.width = forced, width
        self.asked = []  # how many rows each time

    def class_scores(self, x):
        each = MultivariateNormal(self.means, self.covariances, validate_args=False)
        return (each.log_prob(x.double().unsqueeze(-2)) - math.log(self.n_classes)).to(x.dtype)

    def known_scores(self, row):
        """Return log p(x_A, c) of one row: (C,)."""
        known = row.known[0]
        scores = torch.full((self.n_classes,), -math.log(self.n_classes), dtype=torch.float64)
        if known.any():
            part = self.covariances[:, known][:, :, known]
            scores += MultivariateNormal(self.means[:, known], part).log_prob(
                row.x[0, known].double()
            )
        if row.y[0] >= 0:
            scores[torch.arange(self.n_classes) != row.y[0]] = -math.inf
        return scores

    def conditionals(self, row):
        """Each class's mean and covariance of the free features: (C, b), (C, b, b)."""
        known, free = row.known[0], ~row.known[0]
        cross = self.covariances[:, free][:, :, known]
        gain = cross @ torch.linalg.inv(self.covariances[:, known][:, :, known])
        centred = (row.x[0, known].double() - self.means[:, known]).unsqueeze(-1)
        means = self.means[:, free] + (gain @ centred).squeeze(-1)
        return means, self.covariances[:, free][:, :, free] - gain @ cross.mT

    def marginal(self, evidence, n, generator):
        self.asked.append(len(evidence))
        if self.forced:
            return self.draw(evidence, n, generator).marginal
        rows = [self.known_scores(evidence[i : i + 1]) for i in range(len(evidence))]
        return Marginal.exact(torch.stack(rows).logsumexp(-1))

    def draw(self, evidence, n, generator):
        x = evidence.x.double().unsqueeze(1).repeat(1, n, 1)
        way = self._forced if self.forced else self._exact
        answers = [way(evidence[i : i + 1], x[i], generator) for i in range(len(evidence))]
        ys, weights, marginals = zip(*answers, strict=True)
        found = _joined(marginals, not self.forced)
        return Draws(x.to(evidence.x), torch.stack(ys), torch.stack(weights), found)

    def _exact(self, row, x, generator):
        scores, n, free = self.known_scores(row), len(x), ~row.known[0]
        y = (
            torch.multinomial(scores.softmax(0), n, replacement=True, generator=generator)
            .sort()
            .values
        )
        means, covariances = self.conditionals(row)
        normal = torch.randn(n, int(free.sum()), 1, generator=generator, dtype=torch.float64)
        x[:, free] = means[y] + (torch.linalg.cholesky(covariances)[y] @ normal).squeeze(-1)
        return (
            y,
            torch.full((n,), -math.log(n), dtype=torch.float64),
            Marginal.exact(scores.logsumexp(0)[None]),
        )

    def _forced(self, row, x, generator):
        n, free = len(x), ~row.known[0]
        normal = torch.randn(n, int(free.sum()), generator=generator, dtype=torch.float64)
        x[:, free] = self.width * normal
        log_q = (-0.5 * normal.square() - math.log(self.width * math.sqrt(2 * math.pi))).sum(-1)
        scores = self.class_scores(x)
        if row.y[0] >= 0:
            scores = scores.masked_fill(torch.arange(self.n_classes) != row.y[0], -math.inf)
        log_w = scores.logsumexp(-1) - log_q
        log_p = log_w.logsumexp(0) - math.log(n)
        ratio = (log_w - log_p).exp()
        y = torch.multinomial(scores.softmax(-1).nan_to_num(1.0), 1, generator=generator).squeeze(
            1
        )
        numbers = (log_p, ratio.std() / math.sqrt(n), 1 / ratio.square().mean())
        return y, log_w.log_softmax(0), Marginal(*(v.reshape(1) for v in numbers), False)


class BinaryTable(Density):
    """Any density of D features that are 0 or 1 and C classes: a table of probabilities.

    Forced, its draws are all rows of the table that agree with the evidence, equally often.
    """

    levels = 2

    def __init__(self, n_features=4, n_classes=2, *, forced=False, seed=0):
        super().__init__()
        self.n_features, self.n_classes, self.forced = n_features, n_classes, forced
        rows = torch.tensor(list(itertools.product([0.0, 1.0], repeat=n_features)))
        logits = 1.5 * torch.randn(
            len(rows), n_classes, generator=torch.Generator().manual_seed(seed)
        )
        self.register_buffer("rows", rows)
        self.register_buffer("log_p", logits.flatten().double().log_softmax(0).view(len(rows), -1))

    def class_scores(self, x):
        place = (x.float() @ (2.0 ** torch.arange(self.n_features - 1, -1, -1))).long()
        return self.log_p[place].to(x.dtype)

    def joint(self, row):
        """Return log p of each (row, class), -inf where a row of evidence says otherwise."""
        wrong = ((self.rows != row.x) & row.known).any(1, keepdim=True)
        other = (row.y >= 0) & (torch.arange(self.n_classes) != row.y)
        return self.log_p.masked_fill(wrong | other, -math.inf)

    def marginal(self, evidence, n, generator):
        logs = [
            self.joint(evidence[i : i + 1]).flatten().logsumexp(0) for i in range(len(evidence))
        ]
        exact = Marginal.exact(torch.stack(logs))
        return exact._replace(is_exact=False) if self.forced else exact

    def draw(self, evidence, n, generator):
        xs, ys, weights = [], [], []
        for i in range(len(evidence)):
            joint = self.joint(evidence[i : i + 1]).flatten()
            if self.forced:
                places = joint.isfinite().nonzero().squeeze(1).repeat(n)[:n]
                places = places[torch.randperm(n, generator=generator)]
                weights.append(joint[places].log_softmax(0))
            else:
                places = torch.multinomial(joint.exp(), n, replacement=True, generator=generator)
                weights.append(torch.full((n,), -math.log(n), dtype=torch.float64))
            xs.append(self.rows[places // self.n_classes])
            ys.append(places % self.n_classes)
        found = self.marginal(evidence, n, generator)
        return Draws(torch.stack(xs), torch.stack(ys), torch.stack(weights), found)


def random_gaussians(n_features, n_classes=2, *, seed=0, **options):
    """Return classes whose Gaussians have random means and covariances."""
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(
        n_classes, n_features, n_features, generator=generator, dtype=torch.float64
    )
    covariances = 0.2 * factor @ factor.mT + 0.3 * torch.eye(n_features, dtype=torch.float64)
    means = torch.randn(n_classes, n_features, generator=generator, dtype=torch.float64)
    return GaussianPerClass(means, covariances, **options).eval()


def half_known(n_features, *, n=1, seed=1):
    """Return evidence on the first half of the features."""
    x = torch.randn(
        n, n_features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    known = torch.arange(n_features) < n_features // 2
    return Evidence(x, known.expand(n, -1))


class Repeated(GaussianPerClass):
    """Draws each of which comes four times: they are worth a quarter of what their weights say."""

    def draw(self, evidence, n, generator):
        drawn = super().draw(evidence, n // 4, generator)
        share = drawn.marginal.effective / 4
        marginal = drawn.marginal._replace(effective=share, is_exact=False)
        x, y = drawn.x.repeat(1, 4, 1), drawn.y.repeat(1, 4)
        return Draws(x, y, drawn.log_weight.repeat(1, 4) - math.log(4), marginal)
