"""The cases of the contract that are networks of convolution."""

from functools import partial

from contract_case import C, Case, D

from ugmm.baselines import CNN
from ugmm.nn import UGMMConvNetwork

STAGES = {"channels": [5, 4], "kernel_sizes": [3, 2], "strides": [1, 2]}
LEFT = 4 * 2 * 2  # places of 2 x 2 pixels, padded to 4 x 4 for windows of 2 x 2 at steps of 2
NORMS = {
    "none": ("Identity()", 0),
    "layer": ("ChannelNorm", 2 * (5 + 4)),
    "batch": ("BatchNorm2d", 2 * (5 + 4)),
    "centred": ("CentredBatchNorm2d", 2 * (5 + 4)),
}


def cases():
    """Yield names and cases: images of 2 x 2 pixels."""
    connections = 9 * 5 + 5 * 4 * 4
    for norm, (text, of_norms) in NORMS.items():
        yield (
            f"conv-{norm}",
            Case(
                partial(UGMMConvNetwork, D, C, **STAGES, norm=norm, dropout=[0.2, 0.1]),
                ("UGMMConvNetwork", "image_shape=(1, 2, 2), init='unit'", text, "dropout=0.1"),
                n_parameters=3 * connections + of_norms + C * (LEFT + 1),
                factory=True,
            ),
        )
    pooled = {"pooling": "logmeanexp", "residual": 1, "head": "gain", "input_dropout": 0.1}
    stage = {"channels": [5], "kernel_sizes": [3], "strides": [1]}
    yield (
        "conv-residual",
        Case(
            partial(UGMMConvNetwork, D, C, **stage, **pooled, init="data"),
            ("UGMMResidualBlock2d", "LogMeanExpPool2d", "Gain", "init='data'"),
            n_parameters=3 * (9 * 5 + 9 * 5 * 5 + 5 * C) + 4 * 5 + 1,
            factory=True,
        ),
    )
    yield (
        "cnn",
        Case(
            partial(CNN, D, C, **STAGES, dropout=0.1),
            ("CNN", "image_shape=(1, 2, 2)", "BatchNorm2d", "ReLU"),
            n_parameters=connections + 2 * (5 + 4) + C * (LEFT + 1),
            init="none",
            factory=True,
        ),
    )
    yield (
        "cnn-residual",
        Case(
            partial(CNN, D, C, **stage, pooling="max", residual=2),
            ("CNN", "MaxPool2d", "_Residual"),
            n_parameters=9 * 5 + 2 * 9 * 5 * 5 + 6 * 5 + C * 6,
            init="none",
            factory=True,
        ),
    )
