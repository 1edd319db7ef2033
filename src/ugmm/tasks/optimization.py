"""Optimisers and learning-rate schedules by name."""

import inspect
import math
import re
from typing import Any, Literal

import torch
from torch import nn, optim
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from ugmm.metrics import find_metric

__all__ = ["OPTIMIZERS", "make_optimizer", "make_schedule", "parameter_groups"]


def _never_compiled(kind: type[optim.Optimizer]) -> type[Any]:
    """Return an optimiser of torch's without its ways around `torch.compile`.

    By those the first optimiser of a process imports the whole compiler, and each step asks it
    twice to look away.
    """
    names = ("add_param_group", "zero_grad", "step", "state_dict", "load_state_dict")
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    plain["step"] = torch.no_grad()(plain["step"])
    return type(kind.__name__, (kind,), plain)


# Each by its own name in this module, under which pickle finds it.
Adam, AdamW, SGD = map(_never_compiled, (optim.Adam, optim.AdamW, optim.SGD))

OPTIMIZERS = {"adam": Adam, "adamw": AdamW, "sgd": SGD}


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters into those that weight decay shrinks and those that it never touches.

    Decayed are the means of mixture neurons and the weight matrices of other layers. A decayed
    scale or logit would be drawn to a value that means nothing; biases and norms are left alone as
    is usual.

    Args:
        module: Whose parameters are to be trained.
        weight_decay: The decay of the first group.

    Returns:
        One or two groups for a torch optimiser, each with a ``name``.
    """
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        kind = name.rpartition(".")[2]
        # A GRU numbers its matrices: weight_ih_l0.
        shrinks = kind == "loc" or (re.match(r"weight(_[ih]h_|$)", kind) and parameter.dim() > 1)
        (decayed if shrinks else free).append(parameter)
    groups = [
        {"name": "means and weights", "params": decayed, "weight_decay": weight_decay},
        {"name": "scales, logits and biases", "params": free, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(
    module: nn.Module,
    name: Literal["adam", "adamw", "sgd"] = "adam",
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.999),
    momentum: float = 0.0,
    fused: bool = True,
) -> optim.Optimizer:
    """Return an optimiser over a module's parameters.

    Args:
        module: What to train.
        name: ``"adam"``, ``"adamw"`` or ``"sgd"``.
        lr: Learning rate.
        weight_decay: Never applied to scales and logits; see `parameter_groups`.
        betas: Of Adam and AdamW.
        momentum: Of SGD.
        fused: Whether a step is one pass over all parameters.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer must be 'adam', 'adamw' or 'sgd', got {name!r}")
    own = {"momentum": momentum} if name == "sgd" else {"betas": betas}
    groups = parameter_groups(module, weight_decay)
    optimizer: optim.Optimizer = OPTIMIZERS[name](groups, lr=lr, fused=fused, **own)
    return optimizer


def make_schedule(
    optimizer: optim.Optimizer,
    steps: int,
    steps_per_epoch: int,
    name: Literal["constant", "step", "cosine", "one_cycle", "plateau"] = "constant",
    milestones: tuple[int, ...] = (),
    gamma: float = 0.1,
    warmup: float = 0.3,
    patience: int = 10,
    monitor: str = "val/nll",
) -> LRScheduler | ReduceLROnPlateau | None:
    """Return a schedule that is advanced after every optimiser step, or None if it is constant.

    That of a plateau is advanced after every validation.

    Args:
        optimizer: Its learning rates are scheduled; ``one_cycle`` peaks at its ``lr``.
        steps: Optimiser steps in the whole training.
        steps_per_epoch: Optimiser steps in an epoch.
        name: ``"constant"``; ``"step"``: times `gamma` after each epoch of `milestones`;
            ``"cosine"``: to zero, after a linear warm-up; ``"one_cycle"``: torch's OneCycleLR;
            ``"plateau"``: times `gamma` whenever validations have stopped getting better.
        milestones: Epochs.
        gamma: Factor at each milestone, and on each plateau.
        warmup: Share of the steps in which the rate rises (``cosine``, ``one_cycle``).
        patience: After how many validations without a better one there is a plateau.
        monitor: The metric of those validations.
    """
    if name == "constant":
        return None
    if name == "step":
        return MultiStepLR(optimizer, [m * steps_per_epoch for m in milestones], gamma)
    if name == "plateau":
        goal = find_metric(monitor).goal or "min"
        return ReduceLROnPlateau(optimizer, goal, factor=gamma, patience=patience)
    if name == "cosine":
        rising = round(warmup * steps)
        falling = CosineAnnealingLR(optimizer, max(1, steps - rising))
        if rising == 0:
            return falling
        rise = LinearLR(optimizer, start_factor=1 / (rising + 1), total_iters=rising)
        return SequentialLR(optimizer, [rise, falling], milestones=[rising])
    if name == "one_cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        # A rise of one step starts at its peak: torch would divide by its length less one.
        share = 0.0 if math.isclose(warmup * steps, 1) else warmup
        return OneCycleLR(optimizer, max_lr=peaks, total_steps=steps, pct_start=share)
    raise ValueError(
        f"schedule must be 'constant', 'step', 'cosine', 'one_cycle' or 'plateau', got {name!r}"
    )
