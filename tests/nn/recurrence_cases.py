"""The cases of the contract that are networks of recurrence."""

from functools import partial

from contract_case import C, Case, D

from ugmm.baselines import GRUNetwork
from ugmm.nn import UGMMRecurrentNetwork

H = 5
OPTIONS = {
    "last": {},
    "mean": {"pool": "mean", "image_shape": (1, 4)},
    "both": {"num_layers": 2, "bidirectional": True, "dropout": 0.2},
}


def cases():
    """Yield names and cases: images of 2 x 2 pixels, or of one line of 4."""
    for name, options in OPTIONS.items():
        text = "image_shape=(1, 2, 2), pool='last'"
        if name == "mean":
            text = "image_shape=(1, 1, 4), pool='mean'"
        yield (
            f"rnn-{name}",
            Case(
                partial(UGMMRecurrentNetwork, D, C, H, **options),
                ("UGMMRecurrentNetwork", text, "UGMMCell", "gate_bias=1.0"),
                n_parameters=count(mixture_layer, **options),
                init="none",
                factory=True,
            ),
        )
        yield (
            f"gru-{name}",
            Case(
                partial(GRUNetwork, D, C, H, **options),
                ("GRUNetwork", text, "GRU"),
                n_parameters=count(gru_layer, **options),
                init="none",
                factory=True,
            ),
        )
    for head, more in (("mixture", 0), ("gain", 1)):
        yield (
            f"rnn-{head}",
            Case(
                partial(UGMMRecurrentNetwork, D, C, H, head=head),
                ("UGMMRecurrentNetwork", "in_features=5, out_features=3"),
                n_parameters=mixture_layer(2) + 3 * C * H + more,
                init="none",
                factory=True,
            ),
        )


def mixture_layer(n_in):
    """Parameters of a layer in one direction: of candidates and gates, and of their norms."""
    return 2 * H * 3 * (n_in + H) + 2 * 2 * H


def gru_layer(n_in):
    """The same of a GRU's, with two shifts for each of three parts."""
    return 3 * H * (n_in + H) + 2 * 3 * H


def count(layer, num_layers=1, bidirectional=False, image_shape=(2, 2), **_others):
    """Count the parameters of a network with an affine head."""
    n = 2 if bidirectional else 1
    later = (num_layers - 1) * n * layer(n * H)
    return n * layer(image_shape[1]) + later + C * (n * H + 1)
