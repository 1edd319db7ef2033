"""Recurrent layers: their shapes against torch's GRU, their values against a loop in float64."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logsumexp
from scipy.stats import norm
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence, unpack_sequence

from ugmm.nn import UGMMRNN, UGMMCell

WIDE = torch.float64


def moved(layer):
    """A layer away from where it begins, so that no parameter is as good as absent."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return layer


@pytest.fixture
def rnn():
    torch.manual_seed(0)
    return moved(UGMMRNN(3, 4, num_layers=2, bidirectional=True, dtype=WIDE))


def defined_step(cell, x, h):
    """A cell's next state, (H,), of one row, by its formula."""
    x, h = x.detach().numpy(), h.detach().numpy()
    mixture = {name: t.detach().numpy() for name, t in cell.mixture.named_parameters()}
    scale = cell.mixture.min_scale + np.exp(mixture["raw_scale"])
    weights = mixture["logits"] - logsumexp(mixture["logits"], 1, keepdims=True)
    terms = weights + norm.logpdf(np.concatenate([x, h]), mixture["loc"], scale)
    halves = logsumexp(terms, 1).reshape(2, -1)
    normed = (halves - halves.mean(1, keepdims=True)) / np.sqrt(
        halves.var(1, keepdims=True) + cell.norm.eps
    )
    weight, bias = (t.detach().numpy().reshape(2, -1) for t in cell.norm.parameters())
    n, z = weight * normed + bias
    n, z = np.tanh(n), expit(z)
    return torch.from_numpy(n + z * (h - n))


def defined_rnn(rnn, x, hx):
    """The outputs (T, ...) and last states (L, H) of one sequence, step by step."""
    finals, cells = [], iter(rnn.cells)
    for _ in range(rnn.num_layers):
        outputs = []
        for direction in range(rnn.num_directions):
            cell, h, states = next(cells), hx[len(finals)], []
            for row in x.flip(0) if direction else x:
                h = defined_step(cell, row, h)
                states.append(h)
            outputs.append(torch.stack(states[::-1] if direction else states))
            finals.append(h)
        x = torch.cat(outputs, -1)
    return x, torch.stack(finals)


def test_a_cell_is_its_formula():
    torch.manual_seed(0)
    cell = moved(UGMMCell(3, 5, dtype=WIDE))
    x, h = torch.randn(6, 3, dtype=WIDE), torch.rand(6, 5, dtype=WIDE)
    expected = torch.stack([defined_step(cell, *rows) for rows in zip(x, h, strict=True)])
    torch.testing.assert_close(cell(x, h), expected)
    torch.testing.assert_close(cell(x[0], h[0]), expected[0])
    torch.testing.assert_close(cell(x), cell(x, torch.zeros_like(h)))


def test_layers_are_their_formula(rnn):
    x, hx = torch.randn(5, 2, 3, dtype=WIDE), torch.randn(4, 2, 4, dtype=WIDE)
    found, final = rnn(x, hx)
    for b in range(2):
        outputs, last = defined_rnn(rnn, x[:, b], hx[:, b])
        torch.testing.assert_close(found[:, b], outputs)
        torch.testing.assert_close(final[:, b], last)
        alone = rnn(x[:, b], hx[:, b])
        torch.testing.assert_close(alone, (outputs, last))


@settings(max_examples=60, deadline=None)
@given(
    options=st.fixed_dictionaries(
        {
            "num_layers": st.integers(1, 3),
            "batch_first": st.booleans(),
            "bidirectional": st.booleans(),
        }
    ),
    sizes=st.tuples(st.integers(1, 4), st.integers(2, 4), st.integers(1, 4)),
    batch=st.none() | st.integers(1, 3),
    given_start=st.booleans(),
)
def test_shapes_are_those_of_a_gru(options, sizes, batch, given_start):
    n_in, hidden, steps = sizes
    rnn, gru = (kind(n_in, hidden, **options) for kind in (UGMMRNN, nn.GRU))
    lead = (steps,) if batch is None else (steps, batch)
    x = torch.randn(*(lead[::-1] if options["batch_first"] else lead), n_in)
    states = options["num_layers"] * (1 + options["bidirectional"])
    start = [torch.randn(states, *lead[1:], hidden)] if given_start else []
    found, expected = rnn(x, *start), gru(x, *start)
    assert [t.shape for t in found] == [t.shape for t in expected]
    assert all(t.isfinite().all() for t in found)
    cell, gru_cell = UGMMCell(n_in, hidden), nn.GRUCell(n_in, hidden)
    row = torch.randn(*lead[1:], n_in)
    assert cell(row).shape == gru_cell(row).shape


def test_no_sequences_are_no_outputs(rnn):
    output, final = rnn(torch.zeros(5, 0, 3, dtype=WIDE))
    assert (output.shape, final.shape) == ((5, 0, 8), (4, 0, 4))


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5), given_start=st.booleans())
def test_packed_sequences_are_read_each_by_itself(lengths, given_start):
    torch.manual_seed(1)
    rnn = moved(UGMMRNN(3, 4, num_layers=2, bidirectional=True, dtype=WIDE))
    sequences = [torch.randn(n, 3, dtype=WIDE) for n in lengths]
    hx = torch.randn(4, len(lengths), 4, dtype=WIDE) if given_start else None
    output, final = rnn(pack_sequence(sequences, enforce_sorted=False), hx)
    for b, (sequence, found) in enumerate(zip(sequences, unpack_sequence(output), strict=True)):
        outputs, last = rnn(sequence, None if hx is None else hx[:, b])
        torch.testing.assert_close(found, outputs)
        torch.testing.assert_close(final[:, b], last)


def test_a_packed_batch_comes_out_as_that_of_a_gru():
    sequences = [torch.randn(n, 3) for n in (2, 5, 1, 5)]
    packed = pack_sequence(sequences, enforce_sorted=False)
    found, final = UGMMRNN(3, 4)(packed)
    expected, last = nn.GRU(3, 4)(packed)
    assert isinstance(found, PackedSequence)
    assert final.shape == last.shape
    for mine, its in zip(found[1:], expected[1:], strict=True):
        assert torch.equal(mine, its)
    padded, lengths = pad_packed_sequence(found, batch_first=True)
    assert padded.shape == (4, 5, 4)
    assert lengths.tolist() == [2, 5, 1, 5]
    in_order, _ = UGMMRNN(3, 4)(pack_sequence(sequences[1:2] + sequences[:1]))
    assert in_order.sorted_indices is None


def test_the_other_direction_is_the_reversed_input():
    torch.manual_seed(0)
    both = moved(UGMMRNN(3, 4, bidirectional=True, dtype=WIDE))
    x = torch.randn(6, 2, 3, dtype=WIDE)
    output, final = both(x)
    for direction, cell in enumerate(both.cells):
        one = UGMMRNN(3, 4, dtype=WIDE)
        one.cells[0].load_state_dict(cell.state_dict())
        states, last = one(x.flip(0) if direction else x)
        states = states.flip(0) if direction else states
        torch.testing.assert_close(output[..., 4 * direction :][..., :4], states)
        torch.testing.assert_close(final[direction], last[0])


def test_a_step_of_a_layer_is_a_step_of_its_cell():
    """The layer splits each score into the inputs' part and the state's; the cell does not."""
    torch.manual_seed(0)
    rnn = moved(UGMMRNN(30, 20, dtype=WIDE))
    (cell,) = rnn.cells
    x, h = 5 * torch.randn(4, 9, 30, dtype=WIDE), torch.zeros(9, 20, dtype=WIDE)
    output, _ = rnn(x)
    for inputs, states in zip(x, output, strict=True):
        h = cell(inputs, h)
        torch.testing.assert_close(states, h, rtol=1e-12, atol=1e-12)


def test_candidate_and_gate_are_what_a_step_is_made_of():
    torch.manual_seed(0)
    cell = moved(UGMMCell(3, 5, dtype=WIDE))
    x, h = torch.randn(2, 6, 3, dtype=WIDE), torch.rand(2, 6, 5, dtype=WIDE)
    n, z = cell.candidate_and_gate(x, h)
    assert n.shape == z.shape == h.shape
    torch.testing.assert_close((n + z * (h - n))[1], cell(x[1], h[1]))


def test_gradients():
    torch.manual_seed(0)
    rnn = moved(UGMMRNN(2, 2, bidirectional=True, dtype=WIDE))
    names = [name for name, _ in rnn.named_parameters()]
    values = [p.detach().requires_grad_() for p in rnn.parameters()]

    def call(x, hx, *values):
        packed = nn.utils.rnn.pack_padded_sequence(x, (3, 2))
        state = dict(zip(names, values, strict=True))
        output, final = torch.func.functional_call(rnn, state, (packed, hx))
        return output.data, final

    x = torch.randn(3, 2, 2, dtype=WIDE, requires_grad=True)
    hx = torch.randn(2, 2, 2, dtype=WIDE, requires_grad=True)
    assert torch.autograd.gradcheck(call, (x, hx, *values))
    assert torch.autograd.gradgradcheck(lambda x: rnn(x)[0], x[:2, :1])


def test_gradients_in_float32_are_those_in_float64(rnn):
    single = copy.deepcopy(rnn).float()  # by a kernel, where there is one
    x = torch.randn(5, 6, 3, dtype=WIDE)
    for network, inputs in ((rnn, x), (single, x.float())):
        output, final = network(inputs)
        (output.square().sum() + final.sum()).backward()
    for wide, narrow in zip(rnn.parameters(), single.parameters(), strict=True):
        torch.testing.assert_close(narrow.grad.double(), wide.grad, rtol=1e-3, atol=1e-4)


def test_dropout_stands_between_layers_only():
    torch.manual_seed(0)
    rnn = UGMMRNN(3, 100, num_layers=2, dropout=0.5)
    seen = []
    scan = rnn.cells[1].scan
    rnn.cells[1].scan = lambda data, *rest, **named: (
        seen.append(data),
        scan(data, *rest, **named),
    )[1]
    x = torch.randn(5, 4, 3)
    output, _ = rnn(x)
    assert (seen[0] == 0).float().mean().item() == pytest.approx(0.5, abs=0.06)
    assert (output != 0).all()
    rnn.eval()
    assert torch.equal(rnn(x)[0], rnn(x)[0])
    assert (seen[-1] != 0).all()


def test_gates_start_where_they_are_told():
    cell = UGMMCell(3, 5, gate_bias=3.0)
    assert torch.equal(cell.norm.bias, torch.tensor([0.0] * 5 + [3.0] * 5))
    moved(cell).reset_parameters()
    assert torch.equal(cell.norm.bias, torch.tensor([0.0] * 5 + [3.0] * 5))
    rnn = moved(UGMMRNN(3, 400, num_layers=2))
    rnn.reset_parameters()
    for n_in, cell in zip((3, 400), rnn.cells, strict=True):
        assert cell.norm.bias[400:].unique().item() == 1
        for part, spread in ((slice(n_in), 0.5), (slice(n_in, None), 1.0)):
            assert cell.mixture.loc[:, part].std().item() == pytest.approx(spread, rel=0.05)


def test_a_seed_is_all_that_its_start_depends_on():
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(UGMMRNN(3, 4, num_layers=2).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    twin = UGMMRNN(3, 4, num_layers=2)
    twin.load_state_dict(states[0])
    assert all(torch.equal(value, states[0][name]) for name, value in twin.state_dict().items())


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_states_in_float32_between_steps(half):
    torch.manual_seed(0)
    rnn, x = moved(UGMMRNN(3, 8, num_layers=2).to(half)), torch.randn(40, 5, 3).to(half)
    wide = copy.deepcopy(rnn).float()
    found, final = rnn(x)
    expected, _ = wide(x.float())
    assert found.dtype == final.dtype == half
    torch.testing.assert_close(found, expected.to(half), rtol=0.02, atol=0.02)
    found.sum().backward()
    assert all(p.grad.dtype == half and p.grad.isfinite().all() for p in rnn.parameters())


def test_autocast_computes_in_float32():
    rnn, x = UGMMRNN(3, 4, num_layers=2), torch.randn(5, 2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, final = rnn(x)
        narrow, _ = rnn(x.bfloat16(), torch.zeros(2, 2, 4, dtype=torch.bfloat16))
        row = rnn.cells[0](x[0])
    assert output.dtype == final.dtype == row.dtype == torch.float32
    torch.testing.assert_close((output, final), rnn(x))
    torch.testing.assert_close(narrow.float(), output, rtol=0.02, atol=0.02)


def test_one_graph_is_compiled():
    torch.manual_seed(0)
    rnn = UGMMRNN(3, 4, num_layers=2, bidirectional=True)
    compiled = torch.compile(rnn, fullgraph=True, backend="aot_eager")
    x = torch.randn(3, 5, 3)
    torch.testing.assert_close(compiled(x), rnn(x))
    gradients = []
    for call in (rnn, compiled):
        rnn.zero_grad()
        call(x)[0].square().sum().backward()
        gradients.append([p.grad.clone() for p in rnn.parameters()])
    for mine, its in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, its)


def test_a_program_is_exported_for_any_batch():
    rnn, x = UGMMRNN(3, 4, num_layers=2, bidirectional=True), torch.randn(3, 5, 3)
    batch = torch.export.Dim("batch")
    program = torch.export.export(rnn, (x,), dynamic_shapes={"x": {1: batch}})
    other = torch.randn(3, 7, 3)
    torch.testing.assert_close(program.module()(other), rnn(other))


def test_transforms_of_functions():
    rnn, x = UGMMRNN(3, 4, dtype=WIDE), torch.randn(3, 5, 3, dtype=WIDE)
    each, _ = torch.vmap(rnn, in_dims=1, out_dims=1)(x)
    torch.testing.assert_close(each, rnn(x)[0])


def test_far_inputs_leave_gradients_finite():
    rnn = UGMMRNN(3, 4)
    output, _ = rnn(1e4 * torch.randn(5, 2, 3))
    output.sum().backward()
    assert all(p.grad.isfinite().all() for p in rnn.parameters())


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: UGMMRNN(0, 4), "input_size must be at least 1, got 0"),
        (lambda: UGMMRNN(3, 1), "hidden_size must be at least 2, got 1: a norm of one state is 0"),
        (lambda: UGMMRNN(3, 4, 0), "num_layers must be at least 1, got 0"),
        (lambda: UGMMRNN(3, 4, 2, dropout=1.0), r"dropout must be in \[0, 1\), got 1.0"),
        (lambda: UGMMRNN(3, 4, dropout=0.1), "there is one layer: set dropout=0"),
        (lambda: UGMMRNN(3, 4, kernel="fast"), "not 'fast'"),
        (lambda: UGMMRNN(3, 4)(torch.zeros(5, 2, 4)), r"end with 3 inputs, not \(5, 2, 4\)"),
        (lambda: UGMMRNN(3, 4)(torch.zeros(3)), r"3 dimensions, or 2 for one sequence"),
        (lambda: UGMMRNN(3, 4)(torch.zeros(0, 2, 3)), "at least one step"),
        (
            lambda: UGMMRNN(3, 4)(torch.zeros(5, 2, 3), torch.zeros(1, 3, 4)),
            r"hx must be \(1, 2, 4\), not \(1, 3, 4\)",
        ),
        (
            lambda: UGMMRNN(3, 4)(pack_sequence([torch.zeros(5, 2)])),
            r"packed sequences must have 3 inputs at each step, not \(2,\)",
        ),
        (lambda: UGMMCell(3, 4)(torch.zeros(2, 5)), r"x must be \(B, 3\) or \(3,\)"),
        (lambda: UGMMCell(3, 4)(torch.zeros(2, 3), torch.zeros(4)), r"hx must be \(2, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: UGMMRNN(3, 4)([[0.0, 0.0, 0.0]]),
        lambda: UGMMRNN(3, 4)(torch.zeros(5, 3), [0.0]),
        lambda: UGMMRNN(3, 4)(torch.zeros(5, 2, 3, dtype=WIDE)),
        lambda: UGMMRNN(3, 4)(torch.zeros(5, 2, 3, dtype=torch.bfloat16)),
        lambda: UGMMCell(3, 4)([0.0, 0.0, 0.0]),
        lambda: UGMMCell(3, 4)(torch.zeros(2, 3, dtype=torch.int64)),
    ],
)
def test_what_is_no_such_tensor_is_refused(call):
    with pytest.raises(TypeError):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: UGMMRNN(3, 4, 2, True),
        lambda: UGMMCell(3, 4, False),
    ],
)
def test_a_bias_that_a_gru_takes_is_not_taken_for_something_else(call):
    with pytest.raises(TypeError, match="positional arguments"):
        call()


def test_its_repr_describes_it():
    text = repr(UGMMRNN(3, 4, 2, batch_first=True, dropout=0.1, gate_bias=2.0))
    for part in ("3, 4, num_layers=2, batch_first=True, dropout=0.1", "gate_bias=2.0"):
        assert part in text
    assert "bidirectional" not in text
    assert math.prod(UGMMRNN(3, 4).cells[0].mixture.loc.shape) == 8 * 7
