"""The cases of the contract that are networks of attention."""

from functools import partial

from contract_case import C, Case, D

from ugmm.nn import VisionTransformer

E, HIDDEN = 6, 5
PARTS = {
    "standard": {"feed_forward": "linear"},
    "feed-forward": {},
    "gaussian": {"score": "gaussian"},
    "all": {
        "score": "gaussian", "qkv": "ugmm", "out": "ugmm", "embedding": "ugmm", "head": "gain"
    },
}  # fmt: skip


def cases():
    """Yield names and cases: images of 2 x 2 pixels, each of them a patch."""
    for name, parts in PARTS.items():
        yield (
            f"vit-{name}",
            Case(
                partial(VisionTransformer, D, C, (2, 2), 1, E, 2, 2, HIDDEN, 0.2, **parts),
                ("VisionTransformer", "image_shape=(1, 2, 2), patch=1", "(0-1): 2 x UGMMEncoder"),
                n_parameters=count(**parts),
                init="none",
                factory=True,
            ),
        )


def count(feed_forward="ugmm", score="dot", qkv="linear", out="linear", embedding="linear",
          head="linear"):  # fmt: skip
    """Count parameters by hand: a neuron has three for each input, and a norm two a feature."""

    def of(kind, n_in, n_out):
        return n_out * (n_in + 1) if kind == "linear" else n_out * (3 * n_in + 2)

    layer = of(feed_forward, E, HIDDEN) + of(feed_forward, HIDDEN, E)
    layer += of(qkv, E, 3 * E) + of(out, E, E) + 2 * 2 * E + (2 if score == "gaussian" else 0)
    last = C * (E + 1) if head == "linear" else 3 * C * E + 1
    return of(embedding, 1, E) + 4 * E + 2 * layer + 2 * E + last
