"""Registers a kernel with PyTorch, so that compile, export, autocast and DDP see one operation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Kernel", "Problem", "empty_gradients", "register"]

_LIBRARY = torch.library.Library("ugmm", "DEF")
_INPUTS = "Tensor x, Tensor loc, Tensor log_scale, Tensor logits"


class Problem(NamedTuple):
    """The tensors of one layer: x (batch, in); the others (out, in)."""

    x: Tensor
    loc: Tensor
    log_scale: Tensor
    logits: Tensor


class Kernel(NamedTuple):
    """How the operation is computed.

    Attributes:
        name: the operator is `torch.ops.ugmm.<name>`.
        forward: takes a problem; returns the scores (batch, out) and two tensors that backward
            needs: one about the scores, one about the parameters.
        backward: takes the scores' gradient, the two saved tensors, the problem and whether the
            gradient by x, and those by the parameters, are needed; returns the four
            gradients, empty where not needed.
        saved_shapes: takes batch, out and in; returns the shapes of the two saved tensors.
        dispatch_key: the devices it works on, in the dispatcher's words.
    """

    name: str
    forward: Callable[[Problem], tuple[Tensor, Tensor, Tensor]]
    backward: Callable[[Tensor, Tensor, Tensor, Problem, bool, bool], tuple[Tensor, ...]]
    saved_shapes: Callable[[Any, Any, Any], tuple[tuple[Any, ...], tuple[Any, ...]]]
    dispatch_key: str


def register(kernel: Kernel) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Register a kernel's two operators.

    `torch.library.custom_op` would do the same, but imports torch._dynamo at its first use,
    which takes a second, and costs twice as much per call.

    Args:
        kernel: what to register.

    Returns:
        the forward operation: (x, loc, log_scale, logits) to (scores, two saved tensors). It goes
        past the dispatcher where only autograd watches.
    """
    name, grads = kernel.name, f"{kernel.name}_backward"
    qualified, qualified_grads = f"ugmm::{name}", f"ugmm::{grads}"
    _LIBRARY.define(f"{name}({_INPUTS}) -> (Tensor, Tensor, Tensor)")
    _LIBRARY.define(
        f"{grads}(Tensor grad, Tensor of_scores, Tensor of_parameters, {_INPUTS},"
        " bool need_x, bool need_parameters) -> (Tensor, Tensor, Tensor, Tensor)"
    )
    forward_op = getattr(torch.ops.ugmm, name).default
    backward_op = getattr(torch.ops.ugmm, grads).default

    def forward(x: Tensor, loc: Tensor, log_scale: Tensor, logits: Tensor) -> Any:
        return kernel.forward(Problem(x, loc, log_scale, logits))

    def backward(
        grad: Tensor,
        of_scores: Tensor,
        of_parameters: Tensor,
        x: Tensor,
        loc: Tensor,
        log_scale: Tensor,
        logits: Tensor,
        need_x: bool,
        need_parameters: bool,
    ) -> Any:
        problem = Problem(x, loc, log_scale, logits)
        return kernel.backward(grad, of_scores, of_parameters, problem, need_x, need_parameters)

    def fake_forward(x: Tensor, loc: Tensor, _log_scale: Tensor, _logits: Tensor) -> Any:
        batch, (n_out, n_in) = x.shape[0], loc.shape
        saved = (loc.new_empty(shape) for shape in kernel.saved_shapes(batch, n_out, n_in))
        return loc.new_empty(batch, n_out), *saved

    def differentiate(ctx: Any, grad: Tensor | None, *_of_saved: None) -> Any:
        if grad is None:
            return None, None, None, None
        need_x, *need_parameters = ctx.needs_input_grad
        # With a graph of backward asked for, the dispatcher answers: by `_refuse`.
        way: Any = backward_op if torch.is_grad_enabled() or _is_watched(grad) else backward
        results = way(grad, *ctx.saved_tensors, need_x, any(need_parameters))
        return tuple(
            result if need else None
            for result, need in zip(results, ctx.needs_input_grad, strict=True)
        )

    _LIBRARY.impl(name, forward, kernel.dispatch_key)
    _LIBRARY.impl(grads, backward, kernel.dispatch_key)
    torch.library.register_fake(qualified, fake_forward, lib=_LIBRARY)
    torch.library.register_fake(qualified_grads, _fake_backward, lib=_LIBRARY)
    torch.library.register_autograd(qualified, differentiate, setup_context=_save, lib=_LIBRARY)
    torch.library.register_autograd(qualified_grads, _refuse, lib=_LIBRARY)
    for device in ("cpu", "cuda"):
        torch.library.register_autocast(qualified, device, torch.float32, lib=_LIBRARY)

    class Direct(torch.autograd.Function):
        """The operators without the dispatcher, whose way through Python takes 0.2 ms a step."""

        backward = staticmethod(differentiate)

        @staticmethod
        def forward(ctx: Any, *inputs: Tensor) -> Any:
            output = forward(*inputs)
            _save(ctx, inputs, output)
            return output

    def operator(x: Tensor, loc: Tensor, log_scale: Tensor, logits: Tensor) -> Any:
        way: Any = forward_op if _is_watched(x, loc, log_scale, logits) else Direct.apply
        return way(x, loc, log_scale, logits)

    return operator


def _fake_backward(
    _grad: Tensor,
    _of_scores: Tensor,
    _of_parameters: Tensor,
    x: Tensor,
    loc: Tensor,
    _log_scale: Tensor,
    _logits: Tensor,
    need_x: bool,
    need_parameters: bool,
) -> Any:
    return empty_gradients(x, loc, need_x, need_parameters)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*output[1:], *inputs)
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _refuse(_ctx: Any, *_grads: Tensor) -> Any:
    raise RuntimeError("mixture_log_score has a first derivative only, no second")


def _is_watched(*tensors: Tensor) -> bool:
    """Whether more than autograd must see the operation: autocast, a compiler, a mode."""
    return (
        torch.compiler.is_compiling()
        or torch.is_autocast_enabled(tensors[0].device.type)
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or any(type(tensor) not in (Tensor, torch.nn.Parameter) for tensor in tensors)
    )


def empty_gradients(x: Tensor, loc: Tensor, need_x: bool, need_parameters: bool) -> Any:
    """Contiguous, uninitialised gradients of the four inputs; of no element where not needed."""
    parameter_shape = loc.shape if need_parameters else (0, 0)
    return (
        x.new_empty(x.shape if need_x else (0, 0)),
        loc.new_empty(parameter_shape),
        loc.new_empty(parameter_shape),
        loc.new_empty(parameter_shape),
    )
