"""Where the networks' contract runs: `pytest tests/nn --device cuda --dtype float32`."""

import pytest
import torch


@pytest.fixture
def device(request):
    return torch.device(request.config.getoption("device"))


@pytest.fixture
def dtype(request):
    return getattr(torch, request.config.getoption("dtype"))
