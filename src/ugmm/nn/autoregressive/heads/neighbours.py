"""The pixels near each pixel, among those that come before it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Neighbours", "places_before"]


def places_before(image_shape: tuple[int, int], radius: int) -> Tensor:
    """Return the numbers of the pixels near each, among those before it: (D, N); D: there is none.

    Args:
        image_shape: Height and width, whose product is D.
        radius: r; see `Neighbours`.
    """
    height, width = image_shape
    d = height * width
    row, column = torch.arange(d).div(width, rounding_mode="floor"), torch.arange(d) % width
    side = range(-radius, radius + 1)
    offsets = [(up, across) for up in range(-radius, 0) for across in side]
    offsets += [(0, across) for across in range(-radius, 0)]
    up, across = torch.tensor(offsets).unbind(1)
    rows, columns = row[:, None] + up, column[:, None] + across
    inside = (rows >= 0) & (columns >= 0) & (columns < width)
    return torch.where(inside, rows * width + columns, d)


class Neighbours(nn.Module):
    """A linear term of the pixels near each, among those before it.

    Pixels are numbered line by line. Those before pixel (i, j) and near it are the pixels of the
    r lines above it, from column j - r to j + r, and the r pixels to its left: the mask of
    PixelCNN (A. van den Oord et al., arXiv:1601.06759). They enter as 2 x - 1, and as 0 where they
    are outside the image.

    Arguments:
        image_shape: Height and width, whose product is D.
        radius: r, at least 1. There are N = 2 r (r + 1) neighbours.
        out_features: Numbers for each pixel.
        shared: Whether all pixels share one set of weights. Otherwise each has its own, which
            learn from that pixel alone.
    """

    places: Tensor  # (D, N), the neighbours' numbers; D where there is none

    def __init__(
        self,
        image_shape: tuple[int, int],
        radius: int,
        out_features: int,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.radius, places = radius, places_before(image_shape, radius)
        self.register_buffer("places", places, persistent=False)
        shape = places.shape[1:] if shared else places.shape
        self.weight = nn.Parameter(torch.zeros(*shape, out_features))

    def forward(self, x: Tensor, chosen: Tensor | slice | None) -> Tensor:
        """Return the term of the chosen pixels: rows x (batch, D) to (batch, P, out_features)."""
        at = slice(None) if chosen is None else chosen
        near = F.pad(2 * x - 1, (0, 1))[:, self.places[at]]
        if self.weight.ndim == 2:
            return near @ self.weight
        return torch.einsum("bpn,pno->bpo", near, self.weight[at])

    def extra_repr(self) -> str:
        """Describe the term in `repr`."""
        (n_features, neighbours), out_features = self.places.shape, self.weight.shape[-1]
        text = f"n_features={n_features}, radius={self.radius}, neighbours={neighbours}"
        return f"{text}, out_features={out_features}, shared={self.weight.ndim == 2}"
