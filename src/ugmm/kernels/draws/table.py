"""What a network makes of binary features after one hidden layer: numbers in tables."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Table"]

_LOG2_E = 1.4426950408889634


class Table(NamedTuple):
    r"""What binary features add to scores, and how they are read from them.

    .. math::
        h_j^{(d)} = \log \Big( e^{s_j} + \sum_{k < d} e^{t_{kj}(x_k)} \Big) \qquad
        p(x_d = 1) = \operatorname{sigmoid}\bigg(
            \sum_j w_{dj} \frac{h_j^{(d)} - \overline{h^{(d)}}}
            {\sqrt{\operatorname{var} h^{(d)} + \epsilon}} + b_d \bigg)

    Attributes:
        zeros: t of a 0, (D, M).
        ones: t of a 1, (D, M).
        weight: w, (D, M).
        bias: b, (D,).
        eps: Added to the variance.
    """

    zeros: Tensor
    ones: Tensor
    weight: Tensor
    bias: Tensor
    eps: float

    def fields(self) -> dict[str, Tensor | int]:
        """The fields of a call."""
        columns = torch.stack([self.zeros * _LOG2_E, self.ones * _LOG2_E, self.weight], 1)
        constants = torch.cat([self.bias, self.bias.new_tensor([self.eps])])
        n_in, n_out = self.weight.shape
        return {"columns": columns, "constants": constants, "n_in": n_in, "n_out": n_out}
