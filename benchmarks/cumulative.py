"""The cumulative score, forward and backward, beside eager torch's logcumsumexp."""

import functools

import torch

from cases import Case
from common import Lap, Step, between, now
from layers import name_of, size_of
from networks import HALF_LOG_2PI
from ugmm.functional import cumulative_log_score

TITLE = "The cumulative score, forward and backward"
NOTE = """What autoregressive networks begin with; case: batch x out x in. eager: the formula as
one writes it, by torch.logcumsumexp. no dx: the input needs no gradient; 10%: of the prefixes,
evenly spread, are wanted."""

OURS, EAGER, NO_DX, FEW = "ugmm", "eager", ", no dx", ", 10%"
SIZES = ((128, 128, 784), (32, 16, 196))


def cases(quick: bool, device: str) -> list[Case]:  # noqa: ARG001
    """What is timed."""
    sizes = SIZES[1:] if quick else SIZES
    ours = [OURS, OURS + NO_DX, OURS + FEW]
    return [
        Case(name_of(size), ours, [EAGER, EAGER + NO_DX], 2 if quick else 15) for size in sizes
    ]


def eager(x, loc, log_scale, log_weights, start):
    """The formula as one writes it, with torch's own gradients."""
    z = (x.unsqueeze(1) - loc) / log_scale.exp()
    terms = log_weights - log_scale - HALF_LOG_2PI - 0.5 * z**2
    terms = torch.cat([start.unsqueeze(-1), terms[..., :-1]], -1)
    return torch.logcumsumexp(terms, -1).transpose(1, 2)


def function(contender: str, n_in: int, device: str = "cpu"):
    """The contender's function of a layer's inputs."""
    if contender.startswith(EAGER):
        return eager
    positions = torch.arange(5, n_in, 10, device=device) if contender.endswith(FEW) else None
    return functools.partial(cumulative_log_score, positions=positions)


def tensors(contender: str, size: tuple[int, int, int], device: str = "cpu"):
    """A layer's inputs, and a gradient for its scores."""
    batch, n_out, n_in = size
    torch.manual_seed(0)
    x, start = torch.rand(batch, n_in), torch.randn(batch, n_out)
    log_weights = torch.rand(n_out, n_in).log_softmax(-1)
    log_scale = (1 - torch.rand(n_out, n_in)).log()
    inputs = [t.to(device) for t in (x, torch.randn(n_out, n_in), log_scale, log_weights, start)]
    for tensor in inputs[1 if contender.endswith(NO_DX) else 0 :]:
        tensor.requires_grad_()
    wanted = len(range(5, n_in, 10)) if contender.endswith(FEW) else n_in
    return inputs, torch.randn(batch, wanted, n_out).to(device)


def make(case: str, contender: str, device: str = "cpu") -> Step:
    """A step of a contender: forward and backward."""
    size = size_of(case)
    score = function(contender, size[2], device)
    inputs, gradient = tensors(contender, size, device)

    def step() -> list[Lap]:
        for tensor in inputs:
            tensor.grad = None
        start = now()
        score(*inputs).backward(gradient)
        return between(start, now())

    return step
