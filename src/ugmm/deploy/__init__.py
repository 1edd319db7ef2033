"""A trained network in use: estimators, and exports for other programs and other people."""

from typing import TYPE_CHECKING

from ugmm._lazy import load_on_use

if TYPE_CHECKING:
    from ugmm.deploy.exports.export import Origin, to_onnx, to_pt2, to_safetensors

__all__ = ["Origin", "to_onnx", "to_pt2", "to_safetensors"]

_HOME = dict.fromkeys(__all__, "exports.export")

__getattr__, __dir__ = load_on_use(__name__, _HOME)
