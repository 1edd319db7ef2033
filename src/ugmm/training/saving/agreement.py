"""What all processes of a run agree on between two steps."""

from datetime import timedelta
from typing import NamedTuple

import torch
from torch import distributed

__all__ = ["Agreed", "Agreement"]


class Agreed(NamedTuple):
    """What is to be done.

    Attributes:
        signum: The signal that ends the run; 0 if it goes on.
        save: Whether it is time to save.
    """

    signum: int
    save: bool


class Agreement:
    """Agree on what any of the processes asks for.

    In a group of processes of its own, on the CPU: nobody waits for a GPU.

    Arguments:
        world_size: How many processes there are, all of which must call this at once.
        timeout: How many seconds to wait for one of them.
    """

    def __init__(self, world_size: int, timeout: float) -> None:
        wait = timedelta(seconds=timeout)
        self.group = (
            distributed.new_group(backend="gloo", timeout=wait) if world_size > 1 else None
        )

    def reach(self, signum: int, save: bool) -> Agreed:
        """Return what is to be done, the same in all processes, which must all call this.

        Args:
            signum: The signal that has told this process to stop; 0 if none has.
            save: Whether it wants to save.
        """
        if self.group is None:
            return Agreed(signum, save)
        asked = torch.tensor([signum, int(save)])
        distributed.all_reduce(asked, distributed.ReduceOp.MAX, self.group)
        signum, saves = asked.tolist()
        return Agreed(signum, bool(saves))
