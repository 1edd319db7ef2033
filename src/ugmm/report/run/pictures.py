"""All the pictures of one run."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from ugmm.nn import (
    UGMM,
    AutoregressiveUGMM,
    UGMMConv1d,
    UGMMConv2d,
    UGMMRecurrentNetwork,
    VisionTransformer,
)
from ugmm.nn.classifier import CanSample
from ugmm.report.escaping import for_plot
from ugmm.report.run.attention import attention_maps
from ugmm.report.run.curves import training_curves
from ugmm.report.run.filters import filter_images, input_names
from ugmm.report.run.neurons import first_layer_images, neuron_densities
from ugmm.report.run.predictions import (
    confusion_matrix,
    predicted_numbers,
    reliability_diagram,
    target_calibration,
)
from ugmm.report.run.recurrence import draw_reading, name_inputs, trace_reading
from ugmm.report.run.robustness import robustness_curves, robustness_tested
from ugmm.report.run.samples import image_completions, image_samples, pair_plot
from ugmm.report.style import save, shorten
from ugmm.runs import Run
from ugmm.spec import Spec

__all__ = ["draw_run", "find_range"]

_M = TypeVar("_M", bound=nn.Module)
_DRAWS, _IMAGES = 3000, 54
_SEEN = 256  # rows, for the range of a layer's inputs
_LOOKED_AT, _READ = 6, 4  # images, of different classes while there are
_FILTERS = 3  # convolutions, the first ones
_COMPLETED, _COMPLETIONS = 6, 8  # images, and how often each


def draw_run(
    run: Run,
    network: nn.Module,
    record: Mapping[str, Tensor],
    *,
    title: str,
    x: Tensor,
    y: Tensor,
    spec: Spec,
    results: Mapping[str, float] | None = None,
    vector: Literal["none", "pdf", "svg"] = "none",
) -> list[Path]:
    """Draw a finished run into its folder `plots/`.

    Args:
        run: Its metrics become the training curves.
        network: The trained network; if its first layer is of mixture neurons, they are drawn.
        record: Of the test set: `confusion` (C, C), `confidence` (n,) and `correct` (n,); or, of
            a number, `true`, `mean`, `low`, `high` and `pit`, (n,) each; none of these where no
            label was modelled.
        title: What the run is called, above the training curves.
        x: Training rows, (n, features): the inputs' range, as far as 5 standard deviations, and
            what draws are compared with.
        y: Their labels or targets, (n,).
        spec: What the rows are: the names and the image's shape.
        results: The summary's figures, for the tests on shifted images, if there were any.
        vector: As what vector graphic each picture is to be written, too.

    Returns:
        The PNG files written.
    """
    title = textwrap.fill(for_plot(title), 90)
    class_names = [shorten(name) for name in spec.class_names]
    feature_names = [shorten(name) for name in spec.feature_names]
    image_shape = spec.image_shape
    figures: dict[str, Figure] = {}
    if rows := run.read_metrics():
        figures["training"] = training_curves(rows, title, target=spec.target)
    if spec.target is not None:
        tested = {name: column.numpy() for name, column in record.items()}
        figures["calibration"] = target_calibration(tested.pop("pit"))
        figures["predictions"] = predicted_numbers(**tested, target=spec.target)
    elif "confusion" in record:
        figures["confusion"] = confusion_matrix(record["confusion"].numpy(), class_names)
        figures["reliability"] = reliability_diagram(
            record["confidence"].numpy(), record["correct"].numpy()
        )
    if robustness_tested(results or {}):
        figures["robustness"] = robustness_curves(results or {})
    if isinstance(network, CanSample):
        figures["samples"] = _samples(network, x, y, class_names, feature_names, image_shape)
    if isinstance(network, AutoregressiveUGMM) and image_shape is not None:
        figures["completions"] = _completions(network, x, image_shape)
    if isinstance(network, UGMMRecurrentNetwork):
        figures["reading"] = _reading(network, x, y, class_names)
    if isinstance(network, VisionTransformer):
        figures["attention"] = _attention(network, x, y, class_names)
    figures |= _filters(network)
    figures |= _neurons(network, x, feature_names, class_names, image_shape)
    paths = [run.plots / f"{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        save(figure, path)
        if vector != "none":
            save(figure, path.with_suffix(f".{vector}"))
    return paths


def _samples(
    network: CanSample,
    x: Tensor,
    y: Tensor,
    class_names: Sequence[str],
    feature_names: Sequence[str],
    image_shape: tuple[int, int] | None,
) -> Figure:
    """Draw from the network, and show that beside the data; an image has its own way."""
    generator = torch.Generator().manual_seed(0)
    network = network.cpu().eval()  # type: ignore[attr-defined]
    if image_shape is not None:
        draws, _ = network.sample(_IMAGES, generator=generator)
        return image_samples(x[:_IMAGES], draws, image_shape)
    draws, labels = network.sample(_DRAWS, generator=generator)
    labelled = int(labels.max()) > 0 or len(class_names) == 1
    names, of = (class_names, y) if labelled else (["all rows"], torch.zeros_like(y))
    rows = torch.randperm(len(x), generator=generator)[:_DRAWS]
    return pair_plot(x[rows], of[rows], draws, labels, names, feature_names)


def _filters(network: nn.Module) -> dict[str, Figure]:
    """Draw the filters of a network's convolutions of mixture neurons, if it has any."""
    layers = [m for m in network.modules() if isinstance(m, UGMMConv1d | UGMMConv2d)]
    return {
        f"filters_{i}": filter_images(layer, f"Convolution {i} of {len(layers)}")
        for i, layer in enumerate(layers[:_FILTERS], 1)
    }


def _neurons(
    network: nn.Module,
    x: Tensor,
    feature_names: Sequence[str],
    class_names: Sequence[str],
    image_shape: tuple[int, int] | None,
) -> dict[str, Figure]:
    """Draw the first layer of mixture neurons, if there is any, over the range of its inputs."""
    layer = _first(network, UGMM)
    if layer is None:
        return {}
    figures = {}
    names = _input_names(layer.in_features, feature_names, class_names)
    reader, states = _first(network, UGMMRecurrentNetwork), (math.inf, -math.inf)
    if isinstance(network, VisionTransformer):  # whose neurons see no feature as it is
        x, names = _inputs_of(layer, network, x), None
    elif reader is not None:  # whose neurons see lines, and states
        names, states = name_inputs(reader), (-1.0, 1.0)
    elif isinstance(layer, UGMMConv1d | UGMMConv2d):
        names = input_names(layer)
    elif image_shape is not None and layer.in_features >= math.prod(image_shape):
        figures["first_layer"] = first_layer_images(layer, image_shape)
    low, high = find_range(x)
    low, high = min(low, states[0]), max(high, states[1])
    margin = 0.1 * (high - low) or 1.0
    figures["neurons"] = neuron_densities(layer, low - margin, high + margin, 6, names)
    return figures


def _first(network: nn.Module, kind: type[_M]) -> _M | None:
    """Return the first module of a kind; None if there is none."""
    return next((module for module in network.modules() if isinstance(module, kind)), None)


def _completions(network: AutoregressiveUGMM, x: Tensor, image_shape: tuple[int, int]) -> Figure:
    """Give the network the upper halves of some images, and let it draw the lower."""
    generator = torch.Generator().manual_seed(0)
    lines = image_shape[0] // 2
    x = x[:_COMPLETED]
    given = x[:, : lines * image_shape[1]].repeat_interleave(_COMPLETIONS, 0)
    draws, _ = network.cpu().eval().sample(len(given), generator=generator, given=given)
    draws = draws.unflatten(0, (-1, _COMPLETIONS))
    return image_completions(x, draws, image_shape, lines)


def _reading(
    network: UGMMRecurrentNetwork, x: Tensor, y: Tensor, class_names: Sequence[str]
) -> Figure:
    """Show how a recurrent network reads an image of each of some classes."""
    firsts = _firsts(y, _READ)
    traced = trace_reading(network.cpu().eval(), x[firsts])
    lines, states, gates = (each.numpy() for each in traced)
    return draw_reading(lines, states, gates, [class_names[int(y[row])] for row in firsts])


@torch.no_grad()
def _attention(
    network: VisionTransformer, x: Tensor, y: Tensor, class_names: Sequence[str]
) -> Figure:
    """Show where the network looks, in an image of each class."""
    firsts = _firsts(y, _LOOKED_AT)
    rows = x[firsts]
    channels, height, width = network.image_shape
    images = rows.reshape(-1, channels, height, width).mean(1)
    weights = network.cpu().eval().attention_weights(rows.to(network.places.dtype))
    names = [class_names[int(y[row])] for row in firsts]
    return attention_maps(images, weights, names, f"{network.score} score")


def _firsts(y: Tensor, most: int) -> list[int]:
    """Return the first row of each class, of so many classes."""
    return [int((y == c).nonzero()[0]) for c in y.unique()[:most]]


@torch.no_grad()
def _inputs_of(layer: UGMM, network: VisionTransformer, x: Tensor) -> Tensor:
    """Return what a layer within the network is given."""
    given: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: given.extend(inputs))
    network.cpu().eval()(x[:_SEEN].to(network.places.dtype))
    handle.remove()
    return given[0]


def find_range(x: Tensor) -> tuple[float, float]:
    """Return the extremes of values, or 5 standard deviations about their mean if that is less.

    A single outlier would leave no room for the rest. What is missing does not count.
    """
    x = x[~x.isnan()] if x.isnan().any() else x
    low, high = (value.item() for value in torch.aminmax(x))
    std, mean = (value.item() for value in torch.std_mean(x, correction=0))
    return max(low, mean - 5 * std), min(high, mean + 5 * std)


def _input_names(
    inputs: int, feature_names: Sequence[str], class_names: Sequence[str]
) -> list[str] | None:
    """Name the first layer's inputs: the features, then whatever codes the label."""
    if not feature_names:
        return None
    if inputs == len(feature_names) + len(class_names):
        return [*feature_names, *class_names]
    return [*feature_names, *["label"] * (inputs - len(feature_names))]
