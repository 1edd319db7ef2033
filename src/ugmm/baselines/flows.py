"""Normalising flows of the package zuko."""

import importlib.util
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ugmm.baselines.estimators import Baseline, LogJoint, log_prior
from ugmm.errors import UserError
from ugmm.keys import key

__all__ = ["MAF", "NSF"]


@dataclass
class Flow(Baseline):
    """A normalising flow of zuko, conditioned on the one-hot class; subclasses name the kind.

    It is trained by full-batch Adam with a cosine schedule, on rows with fresh vicinal noise.
    """

    # h: the noise is N(0, h^2 S_w), see ugmm.density.VicinalNoise
    noise: float = key(0.3, low=0, high=1000)
    transforms: int = key(3, low=1, high=1000)
    hidden: list[int] = key([32, 32], low=1, high=10**6)
    steps: int = key(500, low=1, high=10**9)
    lr: float = key(5e-3, above=0, high=10**6)

    kind: ClassVar[str] = ""
    extra: ClassVar[dict[str, Any]] = {}

    def check(self) -> None:
        """Raise UserError if zuko is missing."""
        if importlib.util.find_spec("zuko") is None:
            raise UserError(
                f"baseline {self.kind.lower()} needs zuko; install it with: pip install zuko, or "
                "leave the model out"
            )

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int, seed: int) -> LogJoint:
        """See `Estimator.fit`."""
        self.check()
        import torch
        import zuko

        rows, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
        codes = torch.eye(n_classes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            flow = getattr(zuko.flows, self.kind)(
                x.shape[1],
                n_classes,
                transforms=self.transforms,
                hidden_features=self.hidden,
                **self.extra,
            )
            self._train(flow, rows, labels, codes)
        prior = log_prior(y, n_classes)

        @torch.no_grad()
        def log_joint(x: np.ndarray) -> np.ndarray:
            rows = torch.tensor(x, dtype=torch.float32).unsqueeze(1)
            values = flow(codes.expand(len(rows), -1, -1)).log_prob(rows.expand(-1, n_classes, -1))
            return values.double().numpy() + prior

        return log_joint

    def _train(self, flow: Any, x: Any, y: Any, codes: Any) -> None:
        import torch

        from ugmm.density import VicinalNoise

        noise = VicinalNoise(x.shape[1], self.noise)
        noise.fit(x, y)
        optimizer = torch.optim.Adam(flow.parameters(), lr=self.lr, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for _ in range(self.steps):
            optimizer.zero_grad()
            (-flow(codes[y]).log_prob(noise(x)).mean()).backward()
            optimizer.step()
            schedule.step()


@dataclass
class MAF(Flow):
    """Masked autoregressive flow (Papamakarios et al., arXiv:1705.07057)."""

    kind: ClassVar[str] = "MAF"


@dataclass
class NSF(Flow):
    """Neural spline flow (Durkan et al., arXiv:1906.04032)."""

    kind: ClassVar[str] = "NSF"
    extra: ClassVar[dict[str, Any]] = {"bins": 8}
