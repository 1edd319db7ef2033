"""All the pictures of one run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from ugmm.nn import UGMM
from ugmm.report.curves import training_curves
from ugmm.report.neurons import first_layer_images, neuron_densities
from ugmm.report.plots import confusion_matrix, reliability_diagram
from ugmm.report.style import save
from ugmm.runs import Run

__all__ = ["draw_run"]


def draw_run(
    run: Run,
    network: nn.Module,
    record: Mapping[str, Tensor],
    *,
    title: str,
    x: Tensor,
    class_names: Sequence[str],
    feature_names: Sequence[str] = (),
    image_shape: tuple[int, int] | None = None,
) -> list[Path]:
    """Draw a finished run into its folder `plots/`.

    Args:
        run: Its metrics become the training curves.
        network: The trained network; if its first layer is of mixture neurons, they are drawn.
        record: `confusion` (C, C), `confidence` (n,) and `correct` (n,) of the test set; empty
            where no label was modelled.
        title: What the run is called, above the training curves.
        x: Training rows, (n, features): the inputs' range.
        class_names: C names.
        feature_names: Names of the features, or none.
        image_shape: Height and width if a row is an image.

    Returns:
        The files written.
    """
    figures: dict[str, Figure] = {}
    if rows := run.read_metrics():
        figures["training"] = training_curves(rows, title)
    if record:
        figures["confusion"] = confusion_matrix(record["confusion"].numpy(), class_names)
        figures["reliability"] = reliability_diagram(
            record["confidence"].numpy(), record["correct"].numpy()
        )
    layer = next((module for module in network.modules() if isinstance(module, UGMM)), None)
    if layer is not None:
        low, high = (float(value) for value in torch.aminmax(x))
        margin = 0.1 * (high - low) or 1.0
        names = _input_names(layer.in_features, feature_names, class_names)
        figures["neurons"] = neuron_densities(layer, low - margin, high + margin, 6, names)
        if image_shape is not None and layer.in_features >= image_shape[0] * image_shape[1]:
            figures["first_layer"] = first_layer_images(layer, image_shape)
    paths = [run.plots / f"{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        save(figure, path)
    return paths


def _input_names(
    inputs: int, feature_names: Sequence[str], class_names: Sequence[str]
) -> list[str] | None:
    """Name the first layer's inputs: the features, then whatever codes the label."""
    if not feature_names:
        return None
    if inputs == len(feature_names) + len(class_names):
        return [*feature_names, *class_names]
    return [*feature_names, *["label"] * (inputs - len(feature_names))]
