"""Small tilted Gaussians that nobody trained."""

import torch

from ugmm.density import TiltedGaussian
from ugmm.nn import JointScore, UGMMNetwork


def make_tilted(
    n_features, n_classes=3, label="onehot", seed=0, min_scale=0.1, hidden=(6, 4), head="mixture"
):
    """Return a density in evaluation mode, and the rows that its base was fitted to."""
    torch.manual_seed(seed)
    size = {"onehot": n_classes, "real": 1, "none": 0}[label]
    network = UGMMNetwork([n_features + size, *hidden, 1], min_scale=min_scale, head=head)
    score = JointScore(network, n_classes, label)
    density = TiltedGaussian(score, n_features, len(score.codes))
    y = torch.arange(60) % n_classes
    x = torch.randn(60, n_features) * 0.5 + y[:, None] - 1
    labels = torch.zeros_like(y) if label == "none" else y
    density.fit_base(x, labels)
    density.init_from(x, labels)
    return density.eval(), x, y
