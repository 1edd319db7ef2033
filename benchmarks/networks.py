"""The networks of the benchmarks: ours, as experiments set them up, and their peers.

Peers of `mnist_disc` are as wide, or have about as many parameters (328,000).
"""

import functools
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from trees import ROOT
from ugmm.baselines import MLP
from ugmm.nn import AutoregressiveUGMM, UGMMNetwork

SIZES = [784, 128, 64, 10]
DROPOUT = 0.2  # of the first layer's components, in the paper
RBF_WIDTH, BUMPS = 45, 8  # 323,283 parameters
CHANNELS, REPETITIONS, DEPTH = 20, 10, 3  # of spflow's circuits: 339,710 parameters
UNITS = {"quad-tree-2": 14, "quad-graph": 10}  # of cirkit's: 329,028 and 333,060 parameters
HALF_LOG_2PI = 0.9189385332046727


def settings(experiment: str) -> dict[str, Any]:
    """What an experiment's file says, here and now; trees of other commits are given the same."""
    import yaml

    return yaml.safe_load((ROOT / "experiments" / f"{experiment}.yaml").read_text())


def classifier(experiment: str, n_in: int, n_out: int, **other: Any) -> nn.Module:
    """A network of ours, or an MLP, as an experiment sets it up but for `other` settings."""
    found = settings(experiment)
    model = found["model"] | other
    make = MLP if found["defaults"]["model"] == "mlp" else UGMMNetwork
    return make([n_in, *model.pop("hidden"), n_out], **model)


def mlp_of(experiment: str, n_in: int, n_out: int) -> nn.Module:
    """A plain MLP as wide as an experiment's network."""
    return MLP([n_in, *settings(experiment)["model"]["hidden"], n_out])


def autoregressive(experiment: str, n_features: int) -> AutoregressiveUGMM:
    """A density of binary images, begun from such with a fifth of their pixels set."""
    model = settings(experiment)["model"]
    model.pop("init")
    network = AutoregressiveUGMM(n_features, **model)
    network.init_from((torch.rand(256, n_features) < 0.2).float())
    return network


def eager(x, loc, log_scale, logits):
    """The layer as the paper's code writes it."""
    x = x.unsqueeze(1)
    scale = torch.exp(log_scale).unsqueeze(0)
    log_density = torch.distributions.Normal(loc.unsqueeze(0), scale).log_prob(x)
    log_weight = torch.log(torch.softmax(logits, dim=1)).unsqueeze(0)
    return torch.logsumexp(log_density + log_weight, dim=2)


def lean(x, loc, log_scale, logits):
    """The same with as few operations as the formula allows, for torch.compile."""
    constant = logits.log_softmax(-1) - log_scale - HALF_LOG_2PI
    z = (x.unsqueeze(1) - loc) * (-log_scale).exp()
    return torch.logsumexp(constant - 0.5 * z * z, -1)


class PlainLayer(nn.Module):
    """A layer of mixture neurons in plain torch.

    Arguments:
        n_in: Inputs.
        n_out: Neurons.
        dropout: Of components, as in the paper.
        formula: `eager` or `lean`.
    """

    def __init__(self, n_in: int, n_out: int, dropout: float = 0.0, formula=eager) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.randn(n_out, n_in))
        self.log_scale = nn.Parameter((1 - torch.rand(n_out, n_in)).log())
        self.logits = nn.Parameter(torch.rand(n_out, n_in))
        self.dropout, self.formula = dropout, formula

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scores; dropped components get no weight, the others are normalised anew."""
        logits = self.logits
        if self.dropout:
            # A large negative number, not -inf: log(softmax) of that has no gradient.
            dropped = torch.rand_like(logits) < self.dropout
            logits = torch.where(dropped, logits.new_tensor(-60.0), logits)
        return self.formula(x, self.loc, self.log_scale, logits)


def eager_network() -> nn.Module:
    """The paper's network."""
    rates = [DROPOUT, 0.0, 0.0]
    pairs = zip(pairwise(SIZES), rates, strict=True)
    return nn.Sequential(*(PlainLayer(*sizes, rate) for sizes, rate in pairs))


def rbf_network() -> nn.Module:
    """Two of its layers."""
    from ugmm.baselines import FastKAN  # which trees of other commits may lack

    return FastKAN([SIZES[0], RBF_WIDTH, SIZES[-1]], BUMPS)


class Circuit(nn.Module):
    """A circuit as a classifier: cross-entropy normalises what it says of the classes.

    Arguments:
        circuit: A module.
        scores: Its function of a batch.
    """

    def __init__(self, circuit: nn.Module, scores) -> None:
        super().__init__()
        self.circuit, self.scores = circuit, scores

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, pixels) to (batch, classes)."""
        return self.scores(x).flatten(1)


def spflow_network(kind: str) -> nn.Module:
    """A RAT-SPN or an Einet, with Gaussians over all inputs that suit inputs in [0, 1]."""
    from spflow.modules.leaves import Normal
    from spflow.zoo.einet.einet import Einet
    from spflow.zoo.rat.rat_spn import RatSPN

    shape = (SIZES[0], CHANNELS, REPETITIONS)
    leaves = Normal(
        scope=list(range(SIZES[0])),
        out_channels=CHANNELS,
        num_repetitions=REPETITIONS,
        loc=torch.rand(shape),
        scale=torch.full(shape, 0.5),
        validate_args=False,  # in its favour: no look at every input for every step
    )
    shared = {"num_repetitions": REPETITIONS, "depth": DEPTH}
    if kind == "rat":
        circuit = RatSPN([leaves], n_root_nodes=SIZES[-1], n_region_nodes=CHANNELS, **shared)
    else:
        widths = {"num_sums": CHANNELS, "num_leaves": CHANNELS}
        circuit = Einet([leaves], num_classes=SIZES[-1], **widths, **shared)
    return Circuit(circuit, circuit.log_posterior)


def cirkit_network(graph: str) -> nn.Module:
    """A circuit of cirkit for images, with Gaussians that suit inputs in [0, 1]."""
    from cirkit.pipeline import PipelineContext
    from cirkit.templates.data_modalities import image_data
    from cirkit.templates.utils import Parameterization

    about_half = {
        "initialization_kwargs": {"a": 0.4, "b": 0.6},
        "activation_kwargs": {"vmin": 0.1},
    }
    circuit = image_data(
        (1, 28, 28),
        graph,
        input_layer="gaussian",
        num_input_units=UNITS[graph],
        sum_product_layer="cp",
        num_sum_units=UNITS[graph],
        num_classes=SIZES[-1],
        # With cirkit's own, most scores are below its lowest, and have no gradient.
        input_params={
            "mean": Parameterization("uniform"),
            "stddev": Parameterization("uniform", "positive-clamp", **about_half),
        },
        sum_weight_param=Parameterization("normal", "softmax"),
    )
    context = PipelineContext(backend="torch", semiring="lse-sum", fold=True, optimize=True)
    module = context.compile(circuit)
    return Circuit(module, module)


MLP_SAME, MLP_MANY, RBF = "MLP, as wide", "MLP, as many parameters", "RBF layers (FastKAN)"
EAGER, COMPILED = "paper's code, eager", "paper's code, compiled"
PEERS = {
    MLP_SAME: functools.partial(classifier, "mnist_mlp", SIZES[0], SIZES[-1]),
    MLP_MANY: functools.partial(classifier, "mnist_mlp_params", SIZES[0], SIZES[-1]),
    RBF: rbf_network,
    EAGER: eager_network,
    COMPILED: lambda: torch.compile(eager_network(), dynamic=False),
    "spflow RatSPN": functools.partial(spflow_network, "rat"),
    "spflow Einet": functools.partial(spflow_network, "einet"),
    "cirkit, quad tree": functools.partial(cirkit_network, "quad-tree-2"),
    "cirkit, quad graph": functools.partial(cirkit_network, "quad-graph"),
}
