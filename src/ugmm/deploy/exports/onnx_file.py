"""A trained network as an ONNX file, which takes a user's columns and needs no ugmm to run."""

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np
import torch

from ugmm.deploy.exports.answers import Answers
from ugmm.deploy.exports.columns import STRANGE, Input, examples, inputs_of
from ugmm.errors import UserError
from ugmm.spec import Spec

__all__ = ["run_onnx", "to_model"]

_ML = "ai.onnx.ml"  # the domain of the operators on texts
_ML_VERSION = 3
_MORE = "keep the run, or export it with --to pt2"


def to_model(answers: Answers, spec: Spec, described: Mapping[str, Any]) -> bytes:
    """Return an ONNX model.

    Args:
        answers: What it computes.
        spec: What a row is.
        described: What is noted in the model; see `ugmm.exported.describe`.

    Raises:
        UserError: If an operation of the network is none of ONNX, or a column's name is taken.
    """
    import onnx
    import onnxscript  # noqa: F401  (which torch would miss in words of its own)

    inputs = inputs_of(spec)
    for each in inputs:
        if each.name in answers.names:
            raise UserError(
                f"column {each.name!r} has the name of an output; rename it and train again"
            )
    model = _translate(answers, spec, inputs)
    _free_names(model.graph, {each.name for each in inputs} | set(answers.names))
    names = {f"input_{place}": each.name for place, each in enumerate(inputs)}
    _rename(model.graph, names | {f"output_{name}": name for name in answers.names})
    _add_texts(model, spec, inputs, "label" in answers.names)
    model.producer_name, model.producer_version = "ugmm", described["library_version"]
    noted = {"classes": list(spec.class_names), **described}
    told = {f"ugmm.{key}": json.dumps(value) for key, value in noted.items() if value is not None}
    onnx.helper.set_model_props(model, told)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def run_onnx(model: bytes, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the answers, by name, that ONNX Runtime has from a model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(values)), strict=True))


def _translate(answers: Answers, spec: Spec, inputs: list[Input]) -> Any:
    """Return the model that torch makes, with names that are nobody's, and numbers for texts."""
    batch = torch.export.Dim("batch", min=1)
    try:
        with _quiet():
            program = torch.onnx.export(
                answers,
                examples(spec),
                dynamo=True,
                input_names=[f"input_{place}" for place in range(len(inputs))],
                output_names=[f"output_{name}" for name in answers.names],
                dynamic_shapes=(tuple({0: batch} for _ in inputs),),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise UserError(
            f"this network cannot be an ONNX graph ({_reason(error)}); {_MORE}"
        ) from error
    assert program is not None
    return program.model_proto


def _reason(error: BaseException) -> str:
    """Return what a refusal of torch comes down to: the first line of its first cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporter says of its own insides."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _free_names(graph: Any, taken: set[str]) -> None:
    """Give other names to values within a graph that have those of a user's columns."""
    outer = {value.name for value in (*graph.input, *graph.output)}
    used = {name for node in graph.node for name in (*node.input, *node.output)}
    used |= {each.name for each in graph.initializer}
    _rename(graph, {name: f"ugmm.{name}" for name in used & taken - outer})


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for each in values:
        each.name = names.get(each.name, each.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def _add_texts(model: Any, spec: Spec, inputs: list[Input], has_label: bool) -> None:
    """Let categorical inputs be texts, and the label the name of a class."""
    from onnx import TensorProto, helper

    graph, before, after = model.graph, [], []
    for each in inputs:
        if each.places is not None:
            _rename(graph, {each.name: f"ugmm.place.{each.name}"})
            (value,) = [v for v in graph.input if v.name == f"ugmm.place.{each.name}"]
            value.name, value.type.tensor_type.elem_type = each.name, TensorProto.STRING
            before.append(
                helper.make_node(
                    "LabelEncoder",
                    [each.name],
                    [f"ugmm.place.{each.name}"],
                    domain=_ML,
                    keys_strings=list(each.places),
                    values_int64s=list(each.places.values()),
                    default_int64=STRANGE,
                )
            )
    if has_label:
        _rename(graph, {"label": "ugmm.class"})
        (value,) = [v for v in graph.output if v.name == "ugmm.class"]
        value.name, value.type.tensor_type.elem_type = "label", TensorProto.STRING
        after.append(
            helper.make_node(
                "LabelEncoder",
                ["ugmm.class"],
                ["label"],
                domain=_ML,
                keys_int64s=list(range(spec.n_classes)),
                values_strings=list(spec.class_names),
                default_string="",
            )
        )
    if before or after:
        nodes = [*before, *graph.node, *after]
        del graph.node[:]
        graph.node.extend(nodes)
        model.opset_import.append(helper.make_opsetid(_ML, _ML_VERSION))
