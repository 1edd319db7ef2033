"""The operators in standard ones, beside the reference in float64; and graphs that have them."""

import math

import onnx
import onnxruntime
import pytest
import torch

from ugmm.functional import cumulative_log_score, mixture_log_score
from ugmm.kernels.decomposed import decomposed_score
from ugmm.kernels.problem import CumulativeProblem, Problem
from ugmm.kernels.roads import for_elsewhere
from ugmm.nn import AutoregressiveUGMM, UGMMNetwork, prune_components


def layer(n=5, n_out=7, n_in=1500, dtype=torch.float64):
    """More components than are computed at once."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return draw(n, n_in), draw(n_out, n_in), draw(n_out, n_in) - 1, draw(n_out, n_in)


@pytest.mark.parametrize("min_scale", [0.0, 0.1])
def test_scores(min_scale):
    x, *parameters = layer()
    x[0, 3], x[1], x[2, 0] = math.inf, 1e200, -math.inf
    expected = mixture_log_score(x, *parameters, min_scale=min_scale, kernel="reference")
    found = decomposed_score(Problem(x, *parameters, None, min_scale))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    assert found[1].isneginf().all()


def test_scores_of_what_is_known():
    x, *parameters = layer()
    known = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    known[0], known[1] = False, True
    x = x.masked_fill(~known, math.nan)
    expected = mixture_log_score(x, *parameters, known=known, kernel="reference")
    found = decomposed_score(Problem(x, *parameters, known))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert not found[0].any()


@pytest.mark.parametrize("positions", [None, [0, 3, 40]])
def test_cumulative_scores(positions):
    x, loc, log_scale, logits = layer(n_in=100)
    start = torch.randn(5, 7, dtype=torch.float64) - 5
    start[0] = -math.inf
    positions = None if positions is None else torch.tensor(positions)
    p = CumulativeProblem(x, loc, log_scale, logits.log_softmax(-1), start, positions)
    expected = cumulative_log_score(*p, kernel="reference")
    torch.testing.assert_close(decomposed_score(p), expected, rtol=1e-12, atol=0)


def pruned(network):
    """A network with components whose logits are -inf."""
    prune_components(network, 0.5)
    return network


NETWORKS = {
    "pruned": lambda: pruned(UGMMNetwork([6, 5, 3], norm="layer", init="paper")),
    "network": lambda: UGMMNetwork([6, 5, 3], norm="layer"),
    "missing": lambda: UGMMNetwork([6, 5, 3], missing=True),
    "gaussian": lambda: AutoregressiveUGMM(6, 2, (8, 5), components=2),
}


def build(name):
    torch.manual_seed(0)
    network = NETWORKS[name]().eval().requires_grad_(False)
    return network, (torch.arange(4) % 2,) if name == "gaussian" else ()


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_export_of_a_bare_network(name, tmp_path):
    """With nothing but torch.onnx.export, at any number of rows."""
    (network, more), path = build(name), tmp_path / "network.onnx"
    x, shapes = torch.randn(4, 6), tuple({0: torch.export.Dim("n")} for _ in range(1 + len(more)))
    torch.onnx.export(network, (x, *more), path, dynamic_shapes=shapes, verbose=False)
    assert {node.domain for node in onnx.load(path).graph.node} == {""}
    session = onnxruntime.InferenceSession(path)
    for n in (1, 9):
        given = torch.randn(n, 6), *(torch.zeros(n, dtype=torch.long) for _ in more)
        if name == "missing":
            given[0][0, 1:] = math.nan
        names = [each.name for each in session.get_inputs()]
        values = dict(zip(names, (each.numpy() for each in given), strict=True))
        (found,) = session.run(None, values)
        torch.testing.assert_close(torch.from_numpy(found), network(*given), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_recorded_program_can_do_without_this_package(name):
    """At any number of rows."""
    network, more = build(name)
    rows, n = (torch.randn(4, 6), *more), torch.export.Dim("n")
    shapes = (tuple({0: n} for _ in rows),)
    with for_elsewhere():
        program = torch.export.export(_Star(network), rows, dynamic_shapes=shapes)
    assert "ugmm." not in str(program.graph)
    for n in (1, 2, 9):
        rows = torch.randn(n, 6), *(torch.arange(n) % 2 for _ in more)
        torch.testing.assert_close(program.module()(*rows), network(*rows))


class _Star(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *rows):
        return self.network(*rows)


@pytest.mark.parametrize("strict", [False, True])
def test_a_recorded_program_is_quick_where_this_package_is(strict):
    network, _ = build("network")
    program = torch.export.export(network, (torch.randn(4, 6),), strict=strict)
    assert "ugmm." in str(program.graph)
