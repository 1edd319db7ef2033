"""Layers to draw, and a way to find the texts of a figure."""

from types import SimpleNamespace

import pytest
import torch


@pytest.fixture
def make_layer():
    def make(outputs, inputs, mean_log_scale=-0.5, seed=0):
        generator = torch.Generator().manual_seed(seed)
        loc, raw, logits = (torch.randn(outputs, inputs, generator=generator) for _ in range(3))
        return SimpleNamespace(loc=loc, scale=(raw + mean_log_scale).exp(), logits=logits)

    return make
