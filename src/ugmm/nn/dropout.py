"""Dropout whose numbers do not depend on how many processes share a batch."""

from torch import Tensor, nn

from ugmm.ranks import dropout

__all__ = ["Dropout"]


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` of rows (B, ...), in several processes that of the whole batch.

    Arguments:
        p: Probability that an element is dropped.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return the rows, some of whose elements are 0."""
        return dropout(input, self.p, self.training)
