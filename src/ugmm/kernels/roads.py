"""Which road a call takes: straight to the kernel, through the dispatcher, or by a formula."""

import enum
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ["Road", "choose_road", "for_elsewhere", "has_numbers", "untraced"]

_R = TypeVar("_R")
_PLAIN = (Tensor, torch.nn.Parameter)


class Road(enum.Enum):
    """How a call reaches its numbers."""

    DIRECT = enum.auto()  # the kernel, in an autograd.Function: nothing but autograd watches
    DISPATCHER = enum.auto()  # the registered operator: views are resolved, modes see it
    STANDARD = enum.auto()  # what runs where this package is not: into a graph of ONNX, an archive
    FORMULA = enum.auto()  # plain operations of torch, each of which knows every transform


_leaves = False  # a plain value, which torch.compile can look at


@contextmanager
def for_elsewhere() -> Iterator[None]:
    """Let what torch.export records in the body run without this package."""
    global _leaves
    before, _leaves = _leaves, True
    try:
        yield
    finally:
        _leaves = before


def choose_road(*tensors: Tensor | None) -> Road:
    """The road for a call with these tensors, here and now.

    The direct road costs 0.2 ms a step less than the dispatcher, but takes tensors as they lie in
    memory: so it is for those that have memory and mean what is in it. No kernel knows how to be
    transformed by torch.func, to carry tangents, or to be traced into a graph: these take the
    formula.
    """
    c = torch._C
    if c._are_functorch_transforms_active():  # a constant to torch.compile, as is the next
        return Road.FORMULA
    if torch.compiler.is_compiling():
        leaves = torch.compiler.is_exporting() and (torch.onnx.is_in_onnx_export() or _leaves)
        return Road.STANDARD if leaves else Road.DISPATCHER
    if forward_ad._current_level >= 0 or c._get_tracing_state():
        return Road.FORMULA
    if (
        c._len_torch_dispatch_stack() > 0
        or c._len_torch_function_stack() > 0
        or c._is_any_autocast_enabled()
    ):
        return Road.DISPATCHER
    for tensor in tensors:
        if tensor is None:
            continue
        if type(tensor) not in _PLAIN or tensor.is_neg() or tensor._is_zerotensor():
            return Road.DISPATCHER
        if not c._has_storage(tensor):  # torch.autograd's own vectors of gradients
            return Road.FORMULA
        if tensor.is_meta:
            return Road.DISPATCHER
    return Road.DIRECT


def has_numbers(tensor: Tensor) -> bool:
    """Whether a tensor has numbers that can be looked at, here and now."""
    c = torch._C
    return not (
        c._are_functorch_transforms_active()
        or torch.compiler.is_compiling()
        or c._len_torch_dispatch_stack() > 0  # of which some record a graph
        or type(tensor) not in _PLAIN
        or tensor.is_meta
        or not c._has_storage(tensor)
    )


def untraced(function: Callable[..., _R]) -> Callable[..., _R]:
    """A function that meets sizes as numbers, while torch.jit.trace gives them as tensors too."""

    @functools.wraps(function)
    def call(*args: object) -> _R:
        c: Any = torch._C
        state = c._get_tracing_state()
        if not state:
            return function(*args)
        c._set_tracing_state(None)
        try:
            return function(*args)
        finally:
            c._set_tracing_state(state)

    return call
