"""A trained network in use: exports for other programs, and for other people."""

from typing import TYPE_CHECKING

from ugmm._lazy import load_on_use

if TYPE_CHECKING:
    from ugmm.deploy.export import export_run, to_onnx, to_pt2, to_safetensors
    from ugmm.exported import Origin

__all__ = ["Origin", "export_run", "to_onnx", "to_pt2", "to_safetensors"]

_HOME = dict.fromkeys(("export_run", "to_onnx", "to_pt2", "to_safetensors", "Origin"), "export")

__getattr__, __dir__ = load_on_use(__name__, _HOME)
