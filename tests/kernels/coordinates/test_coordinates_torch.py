"""Candidates of single inputs, beside whole rows in float64."""

import pytest
import torch

from ugmm import kernels
from ugmm.functional import coordinate_blocks, coordinate_log_scores, mixture_log_score
from ugmm.kernels.coordinates.reference import Candidates
from ugmm.kernels.prepared import Prepared
from ugmm.kernels.problem import Problem

KERNELS = ["reference", "cpu"]
each_kernel = pytest.mark.parametrize("kernel", KERNELS)


def layer(batch=3, n_out=20, n_in=7, n_values=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    x, *parameters = (torch.randn(n, n_in, generator=g) for n in (batch, n_out, n_out, n_out))
    parameters[1] *= 0.5
    return x, parameters, torch.randn(n_in, n_values, generator=g)


def replaced(x, values, coordinates):
    """Every candidate's row, (batch, C, G, N)."""
    rows = x[:, None, None].repeat(1, len(coordinates), values.shape[-1], 1)
    for c, i in enumerate(coordinates):
        rows[:, c, :, i] = values[..., c, :]
    return rows


def whole(x, parameters, values, coordinates, min_scale=0.0):
    rows = replaced(x, values, coordinates).double()
    parameters = [p.double() for p in parameters]
    return mixture_log_score(rows, *parameters, min_scale=min_scale, kernel="reference")


def assert_near(scores, expected, atol=2e-6, rtol=5e-7):
    torch.testing.assert_close(scores.double(), expected, atol=atol, rtol=rtol, equal_nan=True)


@each_kernel
@pytest.mark.parametrize(
    ("sizes", "coordinates"),
    [
        ((1, 1, 1, 1), [0]),
        ((3, 20, 7, 5), [6, 0, 3, 3]),
        ((2, 33, 17, 4), list(range(17))),
        ((5, 16, 40, 1), [39]),
        ((1, 5, 3, 9), [1]),
    ],
)
def test_shapes(kernel, sizes, coordinates):
    batch, n_out, n_in, n_values = sizes
    x, parameters, values = layer(*sizes)
    wanted = torch.tensor(coordinates)
    every = coordinate_log_scores(x, *parameters, values, kernel=kernel, min_scale=0.1)
    assert every.shape == (batch, n_in, n_values, n_out)
    assert_near(every, whole(x, parameters, values, range(n_in), 0.1))
    for own in (values[0], values[wanted], torch.randn(batch, len(wanted), n_values)):
        scores = coordinate_log_scores(x, *parameters, own, wanted, kernel=kernel)
        spread = own.expand(batch, len(wanted), -1)
        assert_near(scores, whole(x, parameters, spread, coordinates))


@each_kernel
def test_an_input_that_makes_almost_all_of_a_score(kernel):
    x, parameters, values = layer(n_in=6)
    x[:, 2], parameters[0][:, 2] = 0.5, 0.5
    parameters[2][:, 2] += 90.0  # in whole sums the others' digits would be lost, all of them
    values[2] = torch.linspace(30.0, 60.0, 5)
    assert_near(
        coordinate_log_scores(x, *parameters, values, kernel=kernel),
        whole(x, parameters, values, range(6)),
        atol=1e-5,  # weights are e^-90 of others, and rounded as numbers of that size
    )


@each_kernel
@pytest.mark.parametrize("slope", [-60.0, 60.0])
def test_scores_of_many_sizes(kernel, slope):
    x, parameters, values = layer(n_in=40)
    parameters[2] += slope * torch.arange(40)
    scores = coordinate_log_scores(x, *parameters, values, kernel=kernel)
    expected = whole(x, parameters, values, range(40))
    assert_near(scores, expected, atol=2e-4)  # logits are some 2,000, and rounded so


@each_kernel
def test_dropped_components_and_inputs_without_a_number(kernel):
    x, parameters, values = layer(n_in=6)
    parameters[2][:, 1], parameters[2][3, :] = -torch.inf, -torch.inf
    parameters[2][3, 4] = 0.0  # one component is left
    x[0, 2], x[1, 5], values[3, 0], values[0, 1] = torch.inf, torch.nan, -torch.inf, torch.nan
    scores = coordinate_log_scores(x, *parameters, values, kernel=kernel)
    expected = whole(x, parameters, values, range(6))
    rows = torch.tensor([0, 2])
    assert_near(scores[rows], expected[rows])
    assert scores[1, :5].isnan().all()
    assert_near(scores[1, 5], expected[1, 5])  # its NaN was replaced


@each_kernel
def test_blocks_are_parts_of_the_whole(kernel):
    x, parameters, values = layer(batch=4)
    every = coordinate_log_scores(x, *parameters, values, kernel=kernel).flatten(0, 1)
    blocks = list(coordinate_blocks(x, *parameters, values, pairs=5, kernel=kernel))
    assert [(some.start, some.stop) for some, _ in blocks][-2:] == [(20, 25), (25, 28)]
    torch.testing.assert_close(torch.cat([s for _, s in blocks]), every, rtol=0, atol=0)


@each_kernel
@pytest.mark.parametrize(
    ("x", "values", "coordinates", "shape"),
    [
        (torch.zeros(0, 3), torch.zeros(2), None, (0, 3, 2, 4)),
        (torch.zeros(2, 3), torch.zeros(0), None, (2, 3, 0, 4)),
        (torch.zeros(2, 3), torch.zeros(2), torch.zeros(0).long(), (2, 0, 2, 4)),
        (torch.zeros(3), torch.zeros(1, 2), torch.tensor([1]), (1, 2, 4)),
        (torch.zeros(2, 5, 3), torch.zeros(2, 5, 3, 2), None, (2, 5, 3, 2, 4)),
        (torch.zeros(2, 0, 3), torch.zeros(2, 0, 3, 2), None, (2, 0, 3, 2, 4)),
    ],
)
def test_leading_dimensions_and_nothing_to_do(kernel, x, values, coordinates, shape):
    parameters = layer(n_out=4, n_in=3)[1]
    scores = coordinate_log_scores(x, *parameters, values, coordinates, kernel=kernel)
    assert scores.shape == shape


def test_derivatives_come_from_the_reference():
    x, parameters, values = layer(2, 3, 4, 2)
    tensors = [t.double().requires_grad_() for t in (x, *parameters, values)]
    coordinates = torch.tensor([3, 1])

    def score(x, loc, log_scale, logits, values):
        values = values.index_select(0, coordinates)
        return coordinate_log_scores(
            x, loc, log_scale, logits, values, coordinates, min_scale=0.1, kernel="reference"
        )

    assert torch.autograd.gradcheck(score, tensors)
    loc = parameters[0].requires_grad_()
    scores = coordinate_log_scores(x, *parameters, values)
    (by_loc,) = torch.autograd.grad(scores.sum(), loc)
    assert by_loc.isfinite().all()


def test_results_hardly_depend_on_threads_or_preparation():
    x, parameters, values = layer(9, 40, 30, 8)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = coordinate_log_scores(x, *parameters, values)
        torch.set_num_threads(3)
        many = coordinate_log_scores(x, *parameters, values)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(many, alone, rtol=0, atol=0)
    prepared = Prepared(*parameters)
    for _ in range(2):
        again = coordinate_log_scores(x, *parameters, values, prepared=prepared)
        torch.testing.assert_close(again, alone, rtol=0, atol=0)
    parameters[0].zero_()
    with pytest.raises(RuntimeError, match="while prepared"):
        coordinate_log_scores(x, *parameters, values, prepared=prepared)


def test_half_precision_and_autocast():
    x, parameters, values = layer()
    expected = coordinate_log_scores(x, *parameters, values)
    halves = [t.bfloat16() for t in (x, *parameters, values)]
    scores = coordinate_log_scores(*halves)
    assert scores.dtype == torch.bfloat16
    torch.testing.assert_close(scores.float(), expected, rtol=0.1, atol=0.3)
    with torch.autocast("cpu", torch.bfloat16):
        scores = coordinate_log_scores(x.bfloat16(), *parameters, values)
    assert scores.dtype == torch.float32


def test_choice():
    x, parameters, values = layer()
    problem = Problem(x, *parameters)

    def chosen(problem, kernel="auto"):
        return kernels.choose_coordinates(problem, values.unsqueeze(0), kernel)

    assert chosen(problem) is chosen(problem, "cpu") is kernels.CpuCandidates
    assert chosen(problem, "reference") is Candidates
    graph = problem._replace(loc=parameters[0].clone().requires_grad_())
    assert chosen(graph) is Candidates
    with torch.no_grad():
        assert chosen(graph) is kernels.CpuCandidates
    with torch.autocast("cpu"):
        assert chosen(problem) is Candidates
