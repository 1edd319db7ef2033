"""The cases of the contract that are densities of images."""

from functools import partial

from contract_case import C, Case, D

from ugmm.baselines import PixelReLU
from ugmm.nn import PixelUGMM


def cases():
    """Yield names and cases: images of 2 x 2 pixels, which see 4 places each."""
    kinds = {"ugmm": (PixelUGMM, "MaskedUGMM"), "relu": (PixelReLU, "Linear")}
    for kind, (network, text) in kinds.items():
        neurons = 3 * (4 * 7 + 7 * 5) if kind == "ugmm" else 4 * 7 + 7 + 7 * 5 + 5
        yield (
            f"pixels-{kind}",
            Case(
                partial(network, D, C, (7, 5), radius=1),
                (network.__name__, "n_features=4, n_classes=3, positions=None", text),
                n_parameters=neurons + C * 7 + C + 2 * (7 + 5) + D * (5 + 1) + 5,  # 5 are shared
                binary=True,
                draws=True,
            ),
        )
