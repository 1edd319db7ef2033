"""Lightning's logger for Weights & Biases, which never takes a run down."""

from collections.abc import Mapping

import ugmm._torchvision  # noqa: F401  (before lightning: see the module)

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from ugmm.terminal import warn
from ugmm.tracking.access import explain

__all__ = ["LenientWandbLogger"]


class LenientWandbLogger(WandbLogger):
    """Stops logging at the first failure.

    That W&B's own process has died, `tracked` says when the run ends; of anything else W&B may not
    know then.
    """

    is_lost = False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log, while there is anybody to log to."""
        if self.is_lost:
            return
        try:
            super().log_metrics(metrics, step)
        except ConnectionError:
            self.is_lost = True
        except Exception as error:  # whatever wandb raises: metrics.csv has these metrics too
            self.is_lost = True
            warn(
                f"warning: W&B takes no more metrics ({explain(error)}); metrics.csv has them all"
            )
