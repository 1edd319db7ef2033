"""The training curves, and the pictures of a run's folder, each with what is seen."""

import struct

from ugmm.report.page import Html, drawing, heading, paragraph, picture
from ugmm.report.run.curves import training_curves
from ugmm.report.run.page.facts import RunFacts

__all__ = ["RELIABILITY", "curves", "pictures"]

_DPI = 150  # of the pictures; a page has 96

RELIABILITY = (
    "How often the network is right, against how sure it is: on the dashed line both are the "
    "same; hatched is what they lie apart. Below, how many rows there are."
)
# By the file's name: a heading, and what is seen.
_SHOWN = {
    "training": ("Curves", "Training and validation as the steps go on."),
    "confusion": ("Confusions", "Which classes were taken for which in the test."),
    "reliability": ("Reliability", RELIABILITY),
    "predictions": (
        "Predictions",
        "The predicted means of test rows against what was true, with 90% intervals.",
    ),
    "calibration": (
        "Calibration",
        "Left, where in its predicted distribution the truth of each test row lies: level if "
        "distributions are as wide as they should be, a hump if too wide, a bowl if too narrow. "
        "Right, how many rows central intervals hold, against how many they should. Grey is where "
        "95% of the counts of calibrated predictions lie.",
    ),
    "robustness": (
        "Changed images",
        "How the test goes on images that are turned or known in part.",
    ),
    "samples": (
        "Draws",
        "Rows that the network drew beside those of the data: the nearer the two look, the better "
        "the density.",
    ),
    "completions": (
        "Completions",
        "Upper halves of training images, and lower halves that the network drew to them.",
    ),
    "reading": (
        "Reading",
        "How the recurrent network reads an image line by line: its states, and its gates.",
    ),
    "attention": ("Attention", "Where the network looks in an image of each class."),
    "filters_1": ("Filters", "Means and weights of the first convolution's mixtures."),
    "filters_2": ("Filters of the second convolution", "Means and weights of its mixtures."),
    "filters_3": ("Filters of the third convolution", "Means and weights of its mixtures."),
    "first_layer": (
        "The first layer as images",
        "Means and mixing weights of neurons of the first layer, a pixel a component.",
    ),
    "neurons": (
        "Neurons of the first layer",
        "The density of some neurons over the range of their inputs, and the components that "
        "weigh most.",
    ),
}


def curves(facts: RunFacts) -> list[Html]:
    """Return the training curves."""
    if not facts.history:
        return [paragraph("Nothing has been logged yet.")]
    target = None if facts.spec is None else facts.spec.target
    shown = "Training and validation as the steps go on; a ring marks the best validation."
    return [drawing(training_curves(facts.history, "", target=target), "curves", shown)]


def pictures(facts: RunFacts) -> list[Html]:
    """Return the pictures of the folder `plots/` that the page does not draw itself."""
    drawn = {"training"} if facts.history else set()
    drawn |= {"confusion"} if facts.confusion is not None else set()
    drawn |= {"reliability", "predictions"} if facts.answers else set()
    parts: list[Html] = []
    order = {name: place for place, name in enumerate(_SHOWN)}
    paths = [path for path in sorted(facts.run.plots.glob("*.png")) if path.stem not in drawn]
    for path in sorted(paths, key=lambda path: order.get(path.stem, len(order))):
        png = path.read_bytes()
        title, shown = _SHOWN.get(path.stem, (path.stem, f"The picture {path.name}."))
        if png[:8] != b"\x89PNG\r\n\x1a\n" or len(png) < 24:
            parts.append(paragraph(f"{path.name} is damaged, and left out.", "warning"))
            continue
        width, height = (round(n * 96 / _DPI) for n in struct.unpack(">II", png[16:24]))
        parts += [heading(title, 3), picture(png, width, height, shown)]
    return parts or [paragraph("There are none.")]
