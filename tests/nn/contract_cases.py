"""The networks that keep the contract: one case for each kind and option, baselines included."""

import itertools
from functools import partial
from importlib.util import find_spec

import attention_cases
import convolution_cases
import pixel_cases
import pytest
import recurrence_cases
from contract_case import C, Case, D

from ugmm.baselines import (
    GMM,
    LDA,
    MLP,
    NADE,
    QDA,
    BernoulliMixture,
    Circuit,
    FastKAN,
    GaussianClasses,
    RBFNetwork,
)
from ugmm.density import Ensemble, TiltedGaussian
from ugmm.nn import UGMM, AutoregressiveUGMM, JointScore, UGMMCircuit, UGMMNetwork


def each(**wanted):
    """Parametrise a test by all cases whose attributes are these."""
    skip = pytest.mark.skipif(find_spec("spflow") is None, reason="spflow is not installed")
    cases = {
        name: case
        for name, case in CASES.items()
        if all(getattr(case, key) == value for key, value in wanted.items())
    }
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(case, id=name, marks=[skip] if name.startswith("circuit") else [])
            for name, case in cases.items()
        ],
    )


def mixture_networks():
    norms = {"none": "Identity()", "layer": "LayerNorm", "batch": "BatchNorm"}
    layers = "in_features=4, out_features=6, dropout=0.2", "in_features=5, out_features=3"
    for norm, init in itertools.product(norms, ("unit", "paper", "data")):
        yield (
            f"ugmm-{norm}-{init}",
            Case(
                partial(UGMMNetwork, [D, 6, 5, C], dropout=0.2, norm=norm, init=init),
                ("UGMMNetwork", *layers, norms[norm], f"init='{init}'"),
                n_parameters=3 * (4 * 6 + 6 * 5 + 5 * 3) + (0 if norm == "none" else 2 * (6 + 5)),
                factory=True,
                marginals=True,
            ),
        )


def heads():
    neurons = 3 * (4 * 6 + 6 * 5)
    for head, learned, text in (
        ("gain", 3 * 5 * 3 + 1 + 2 * 6 + 2 * 5, "Gain(start=2.236)"),
        ("linear", 5 * 3 + 3 + 2 * 6 + 2 * 5, "Linear(in_features=5, out_features=3"),
    ):
        yield (
            f"ugmm-{head}",
            Case(
                partial(UGMMNetwork, [D, 6, 5, C], norm="layer", head=head),
                ("UGMMNetwork", f"head='{head}'", text),
                n_parameters=neurons + learned,
                factory=True,
                marginals=True,
            ),
        )


def perceptrons():
    norms = {"none": "Identity()", "layer": "LayerNorm", "batch": "BatchNorm"}
    for norm, kind in norms.items():
        yield (
            f"mlp-{norm}",
            Case(
                partial(MLP, [D, 6, 5, C], dropout=0.2, norm=norm),
                ("MLP", "in_features=4, out_features=6", kind, "Dropout(p=0.2"),
                n_parameters=5 * 6 + 7 * 5 + 6 * 3 + (0 if norm == "none" else 2 * (6 + 5)),
                init="none",
                factory=True,
            ),
        )


def radial():
    layers = [(4, 6), (6, 3)]
    yield (
        "fast_kan",
        Case(
            partial(FastKAN, [D, 6, C], bumps=5),
            ("FastKAN", "LayerNorm((4,)", "in_features=20, out_features=6"),
            n_parameters=sum(6 * a * b + b + 2 * a for a, b in layers),
            init="none",
            factory=True,
        ),
    )
    yield (
        "rbf",
        Case(
            partial(RBFNetwork, D, C, units=7),
            ("RBFNetwork", "n_features=4, units=7"),
            n_parameters=7 * D + 7 + 7 * C + C,
            factory=True,
        ),
    )


def autoregressive():
    first = 3 * 7 * 4 + C * 7 + C + 2 * (7 + 5) + 3 * 5 * 7
    heads = {"gaussian": 2 * 4 * (5 + 3 + 4), "bernoulli": 4 * (5 + 1)}
    for (head, n), order in itertools.product(heads.items(), ("fixed", "random")):
        settings = {"components": 2, "order": order, "orders": 3, "dropout": 0.2}
        text = "n_features=4, n_classes=3, positions=None"
        yield (
            f"autoregressive-{head}-{order}",
            Case(
                partial(AutoregressiveUGMM, D, C, (7, 5), head, **settings),
                (
                    "AutoregressiveUGMM",
                    text if order == "fixed" else f"{text}, orders=3",
                    f"{head.title()}Head",
                ),
                n_parameters=first + n,
                binary=head == "bernoulli",
                draws=True,
            ),
        )


def of_levels():
    head = 4 * (3 * 2 * 5 + 3 * 2 + 3 * 2 * 4)  # scores, biases, four neighbours
    settings = {"head": "levels", "components": 2, "levels": 5, "neighbours": 1}
    text = "n_features=4, width=5, components=2, levels=5"
    yield (
        "autoregressive-levels",
        Case(
            partial(AutoregressiveUGMM, D, C, (7, 5), **settings),
            ("AutoregressiveUGMM", "LevelsHead", text, "Neighbours"),
            n_parameters=3 * 7 * 4 + C * 7 + C + 2 * (7 + 5) + 3 * 5 * 7 + head,
            grey=True,
            draws=True,
        ),
    )
    yield (
        "nade-levels",
        Case(
            partial(NADE, D, C, (7, 5), **settings),
            ("NADE", "hidden=[7, 5]", "LevelsHead", "radius=1, neighbours=4, out_features=6"),
            n_parameters=7 * 4 + C * 7 + C + 2 * (7 + 5) + 5 * 7 + 5 + head,
            grey=True,
            draws=True,
        ),
    )
    for name, n in (("gaussian", 2 * 4 * (5 + 3 + 4)), ("bernoulli", 4 * (5 + 1))):
        yield (
            f"nade-{name}",
            Case(
                partial(NADE, D, C, (5,), name, components=2),
                ("NADE", "hidden=[5]"),
                n_parameters=5 * 4 + C * 5 + C + 2 * 5 + n,
                binary=name == "bernoulli",
                draws=True,
            ),
        )


def joint_score(label):
    size, n_classes = {"onehot": (C, C), "real": (1, C), "none": (0, 1)}[label]
    network = UGMMNetwork([D + size, 6, 1], dropout=0.2, norm="layer", min_scale=0.1)
    return JointScore(network, n_classes, label)


def tilted(label="onehot"):
    score = joint_score(label)
    return TiltedGaussian(score, D, len(score.codes))


def scores_of_features_and_label():
    for label, size in (("onehot", C), ("real", 1), ("none", 0)):
        n_classes = 1 if label == "none" else C
        text = f"n_classes={n_classes}, label='{label}'"
        settings = {
            "n_parameters": 3 * ((D + size) * 6 + 6) + 2 * 6,
            "n_classes": n_classes,
            "init": "labels",
        }
        yield (
            f"joint-{label}",
            Case(partial(joint_score, label), ("JointScore", text, "UGMMNetwork"), **settings),
        )
        yield (
            f"tilted-{label}",
            Case(
                partial(tilted, label),
                ("TiltedGaussian", f"n_features=4, n_classes={n_classes}", "JointScore", text),
                draws=True,
                **settings,
            ),
        )


def circuits():
    for kind, n_classes in itertools.product(("rat", "einet"), (1, C)):
        yield (
            f"circuit-{kind}-{n_classes}",
            Case(
                partial(Circuit, D, n_classes, kind, channels=3, repetitions=2, depth=1),
                ("Circuit", f"n_features=4, n_classes={n_classes}, kind='{kind}', channels=3"),
                n_parameters=None,
                n_classes=n_classes,
                on_meta=False,
                marginals=True,
            ),
        )


def mixture_circuits():
    for name, hidden, n_classes in (("", (), 1), ("", (), C), ("-deep", (3,), C)):
        leaves = 2 * D * (2 * 3 if not hidden else 2 * 3 + 3 * 3) * 3
        yield (
            f"mixture-circuit{name}-{n_classes}",
            Case(
                partial(UGMMCircuit, D, n_classes, 3, 2, 2, hidden),
                ("UGMMCircuit", f"n_features=4, n_classes={n_classes}, channels=3, repetitions=2"),
                n_parameters=leaves + 2 * 2 * 3 * 3 + n_classes * (2 * 3 + 1),
                n_classes=n_classes,
                draws=True,
                marginals=True,
            ),
        )


def gaussians():
    estimators = {
        "lda": (LDA(0.1), 1, C * D + 10 + C - 1),
        "qda": (QDA(0.1), 1, C * (D + 10) + C - 1),
        "gmm": (GMM(2), 2, C * (2 * D + 2 * 10 + 1) + C - 1),
    }
    for name, (estimator, components, free) in estimators.items():
        yield (
            f"gaussians-{name}",
            Case(
                partial(GaussianClasses, D, C, components, estimator.parts, estimator.free(D, C)),
                ("GaussianClasses", f"n_features=4, n_classes=3, components={components}"),
                n_parameters=free,
                init="labels",
                fitted=True,
            ),
        )


CASES: dict[str, Case] = {
    "layer": Case(
        partial(UGMM, D, C, dropout=0.2),
        ("UGMM(in_features=4, out_features=3, dropout=0.2",),
        n_parameters=3 * D * C,
        factory=True,
        layer=True,
    ),
    **dict(mixture_networks()),
    **dict(heads()),
    **dict(autoregressive()),
    **dict(scores_of_features_and_label()),
    "ensemble-tilted": Case(
        lambda: Ensemble([tilted(), tilted()]),
        ("Ensemble", "2 x TiltedGaussian", "n_features=4"),
        n_parameters=2 * (3 * (7 * 6 + 6) + 2 * 6),
        init="labels",
        draws=True,
    ),
    "ensemble-exact": Case(
        lambda: Ensemble([AutoregressiveUGMM(D, C, (6,), components=1) for _ in range(3)]),
        ("Ensemble", "3 x AutoregressiveUGMM", "n_features=4"),
        n_parameters=3 * (3 * 6 * 4 + C * 6 + C + 2 * 6 + 4 * (6 + 3 + 4)),
        draws=True,
    ),
    **dict(of_levels()),
    **dict(perceptrons()),
    **dict(radial()),
    "bernoulli-mixture": Case(
        partial(BernoulliMixture, D, C, 5),
        ("BernoulliMixture(n_features=4, n_classes=3, components=5)",),
        n_parameters=C + C * 5 + C * 5 * D,
        binary=True,
        draws=True,
    ),
    **dict(mixture_circuits()),
    **dict(circuits()),
    **dict(gaussians()),
    **dict(convolution_cases.cases()),
    **dict(recurrence_cases.cases()),
    **dict(pixel_cases.cases()),
    **dict(attention_cases.cases()),
}
