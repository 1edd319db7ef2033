"""Registers a kernel with PyTorch, so that compile, export, autocast and DDP see one operation."""

from collections.abc import Callable
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ugmm.kernels.decomposed import decomposed_score
from ugmm.kernels.formula import gradients_by_formula, score_by_formula
from ugmm.kernels.problem import CumulativeProblem, Problem
from ugmm.kernels.roads import Road, choose_road

__all__ = ["Kernel", "register"]

_LIBRARY = torch.library.Library("ugmm", "DEF")
_Way = Callable[..., Any]
_KINDS: dict[Any, str] = {Tensor: "Tensor", Tensor | None: "Tensor?", float: "float"}


class Kernel(NamedTuple):
    """How the operation is computed.

    Attributes:
        name: the operator is `torch.ops.ugmm.<name>`.
        forward: takes a problem; returns the scores (batch, out) and two tensors that backward
            needs: one about the scores, one about the parameters.
        backward: takes the scores' gradient, the two saved tensors, the problem and whether the
            gradient by x, and those by the parameters, are needed; returns the gradients
            of the inputs, empty where not needed.
        saved_shapes: takes a problem; returns the shapes of the two saved tensors.
        dispatch_key: the devices it works on, in the dispatcher's words.
        problem: the kind of problem; the inputs of the operator are its fields but `prepared`
            and `notes`, which only the direct road knows.
        saves_scores: whether backward takes the scores as the saved tensor about them.
        saved_dtype: the type of the two saved tensors; None: that of the parameters.
    """

    name: str
    forward: Callable[[Any], tuple[Tensor, Tensor, Tensor]]
    backward: Callable[[Tensor, Tensor, Tensor, Any, bool, bool], tuple[Tensor, ...]]
    saved_shapes: Callable[[Any], tuple[tuple[Any, ...], tuple[Any, ...]]]
    dispatch_key: str
    problem: type[Problem] | type[CumulativeProblem] = Problem
    saves_scores: bool = False
    saved_dtype: torch.dtype | None = None


def register(kernel: Kernel) -> Callable[..., Tensor]:
    """Register a kernel's two operators.

    `torch.library.custom_op` would do the same, but imports torch._dynamo at its first use,
    which takes a second, and costs twice as much per call.

    Args:
        kernel: what to register.

    Returns:
        the operation: (*inputs) to the scores. It takes the road that `roads` finds for them.
    """
    qualified, qualified_grads = f"ugmm::{kernel.name}", f"ugmm::{kernel.name}_backward"
    forward_op, backward_op = _define(kernel)
    forward, backward = _computed(kernel)
    fake_forward, fake_backward = _fakes(kernel)
    save, differentiate = _autograd(kernel, backward_op)
    _LIBRARY.impl(kernel.name, forward, kernel.dispatch_key)
    _LIBRARY.impl(f"{kernel.name}_backward", backward, kernel.dispatch_key)
    torch.library.register_fake(qualified, fake_forward, lib=_LIBRARY)
    torch.library.register_fake(qualified_grads, fake_backward, lib=_LIBRARY)
    torch.library.register_autograd(qualified, differentiate, setup_context=save, lib=_LIBRARY)
    for device in ("cpu", "cuda"):
        torch.library.register_autocast(qualified, device, torch.float32, lib=_LIBRARY)

    class Direct(torch.autograd.Function):
        """The operators without the dispatcher, whose way through Python takes 0.2 ms a step."""

        backward = staticmethod(differentiate)

        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            output = forward(*inputs)
            save(ctx, inputs, output)
            return output[0]

    n_inputs = len(_inputs(kernel.problem))

    def operator(*inputs: Any) -> Any:
        problem: Any = kernel.problem(*inputs)
        road = choose_road(*problem.strangers())
        if road is Road.FORMULA:
            return score_by_formula(problem)
        if road is Road.STANDARD:
            return decomposed_score(problem)
        if road is Road.DISPATCHER:
            return forward_op(*problem[:n_inputs])[0]
        if not torch.is_grad_enabled():
            return kernel.forward(problem)[0]
        return Direct.apply(*problem.noting())

    return operator


def _define(kernel: Kernel) -> tuple[Any, Any]:
    """The two operators, still without what they do."""
    name, inputs = kernel.name, _inputs(kernel.problem)
    schema = ", ".join(f"{_KINDS[kind]} {field}" for field, kind in inputs.items())
    n_gradients = list(inputs.values()).count(Tensor)  # an input that may be None has none
    _LIBRARY.define(f"{name}({schema}) -> (Tensor, Tensor, Tensor)")
    _LIBRARY.define(
        f"{name}_backward(Tensor grad, Tensor of_scores, Tensor of_parameters, {schema},"
        f" bool need_x, bool need_parameters) -> ({', '.join(['Tensor'] * n_gradients)})"
    )
    operators = torch.ops.ugmm
    return getattr(operators, name).default, getattr(operators, f"{name}_backward").default


def _computed(kernel: Kernel) -> tuple[_Way, _Way]:
    """Forward and backward as the operators call them."""
    problem_of, n_inputs = kernel.problem, len(_inputs(kernel.problem))

    def forward(*inputs: Any) -> Any:
        return kernel.forward(problem_of(*inputs))

    def backward(grad: Tensor, of_scores: Tensor, of_parameters: Tensor, *rest: Any) -> Any:
        problem = problem_of(*rest[:n_inputs])
        return kernel.backward(grad, of_scores, of_parameters, problem, *rest[n_inputs:])

    return forward, backward


def _fakes(kernel: Kernel) -> tuple[_Way, _Way]:
    """The same for tensors without numbers: results of the right shapes."""
    problem_of, n_inputs = kernel.problem, len(_inputs(kernel.problem))

    def forward(*inputs: Any) -> Any:
        problem = problem_of(*inputs)
        new, dtype = problem.loc.new_empty, kernel.saved_dtype
        saved = (new(shape, dtype=dtype) for shape in kernel.saved_shapes(problem))
        return new(problem.score_shape()), *saved

    def backward(*args: Any) -> Any:
        return problem_of(*args[3 : 3 + n_inputs]).empty_gradients(*args[3 + n_inputs :])

    return forward, backward


def _autograd(kernel: Kernel, backward_op: Any) -> tuple[_Way, _Way]:
    """What autograd keeps of forward; and how it asks for the gradients of the inputs."""
    problem_of: Any = kernel.problem
    n_tensors, n_inputs = len(_tensors(problem_of)), len(_inputs(problem_of))

    def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        of_scores = output[0] if kernel.saves_scores else output[1]
        # Notes too are saved as tensors are: let go after backward, recomputed in a checkpoint.
        notes = inputs[-1] if len(inputs) > n_inputs else {}
        ctx.save_for_backward(of_scores, output[2], *inputs[:n_tensors], *notes.values())
        ctx.numbers, ctx.noted = inputs[n_tensors:n_inputs], tuple(notes)
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    def differentiate(ctx: Any, grad: Tensor | None, *_of_saved: None) -> Any:
        needs = ctx.needs_input_grad
        if grad is None:
            return (None,) * len(needs)
        kept = ctx.saved_tensors
        saved, notes = kept[: 2 + n_tensors], kept[2 + n_tensors :]
        road, numbers = choose_road(grad, *saved), ctx.numbers
        if road is Road.FORMULA or (torch.is_grad_enabled() and not torch.compiler.is_compiling()):
            return gradients_by_formula(grad, problem_of(*saved[2:], *numbers), needs)
        need = needs[0], any(needs[1:])
        if road is Road.DIRECT:
            problem = problem_of(*saved[2:], *numbers)
            if notes:
                problem = problem._replace(notes=dict(zip(ctx.noted, notes, strict=True)))
            results: Any = kernel.backward(grad, saved[0], saved[1], problem, *need)
        else:
            results = backward_op(grad, *saved, *numbers, *need)
        return tuple(r if needed else None for r, needed in zip_longest(results, needs))

    return save, differentiate


def _inputs(problem_of: Any) -> dict[str, Any]:
    """The fields of a problem that a registered operator takes, with their kinds."""
    return {name: kind for name, kind in problem_of.__annotations__.items() if kind in _KINDS}


def _tensors(problem_of: Any) -> list[str]:
    """Those that are tensors, or None: the first ones."""
    return [name for name, kind in _inputs(problem_of).items() if kind is not float]
