"""The Triton kernels of the score for tests: on a GPU, else in Triton's interpreter on the CPU."""

# ruff: noqa: E402

import importlib
import os
import sys

import torch

ON_GPU = torch.cuda.is_available()
if not ON_GPU:
    os.environ["TRITON_INTERPRET"] = "1"
import triton  # noqa: F401

if not ON_GPU:  # lightning may have imported Triton before, when it was not to be interpreted
    for library in ("triton.language.standard", "triton.language"):
        importlib.reload(sys.modules[library])

from ugmm.kernels.definition import register
from ugmm.kernels.mixture.cuda import CUDA, KERNEL

DEVICE = "cuda" if ON_GPU else "cpu"
INTERPRETED = KERNEL._replace(name="mixture_log_score_interpreted", dispatch_key="CPU")
OPERATOR = CUDA if ON_GPU else register(INTERPRETED)


def score(*inputs, known=None, min_scale=0.0):
    known = None if known is None else known.to(DEVICE)
    return OPERATOR(*(i.to(DEVICE) for i in inputs), known, min_scale, None).cpu()
