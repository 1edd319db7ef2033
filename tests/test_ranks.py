"""What several processes draw for a batch is what one draws, row by row."""

import functools

import pytest
import torch

from several import on_ranks
from ugmm.density import VicinalNoise
from ugmm.density.gaps import complete
from ugmm.density.gaussian import Gaussian, GaussianMixture
from ugmm.nn import UGMMRNN
from ugmm.nn.attention.scores import attend
from ugmm.nn.mixture.dropping import dropped
from ugmm.ranks import any_rank, chunk_rows, draw_rows, dropout, gather, rank_of

ROWS, D = 24, 5
WORLDS = pytest.mark.parametrize("world", [2, 3, 4])


def batch(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def own(x, axis=0):
    """A rank's rows."""
    rank, world = rank_of()
    return x[(*[slice(None)] * axis, slice(rank, None, world))]


def proposal():
    base = Gaussian(D)
    base.fit(batch(40, D))
    mixture = GaussianMixture(base, 2)
    mixture.fit(batch(40, D), torch.arange(40) % 2)
    return mixture


def with_gaps():
    return batch(ROWS, D).masked_fill(batch(ROWS, D) > 0.5, torch.nan)


def noise():
    vicinal = VicinalNoise(D)
    vicinal.fit(batch(40, D), torch.arange(40) % 2)
    return vicinal(own(batch(ROWS, D)))


def attention(**options):
    query, key, value = own(batch(3, ROWS, 2, D, 4), 1)
    return attend(query, key, value, dropout_p=0.5, **options)


DRAWS = {
    "uniform": lambda: draw_rows(torch.rand, (ROWS // rank_of()[1], D)),
    "dropout": lambda: dropout(own(batch(ROWS, D)), 0.3),
    "dropout of steps": lambda: dropout(own(batch(3, ROWS, D), 1), 0.3, axis=1).transpose(0, 1),
    "inputs": lambda: dropped(own(batch(ROWS, D)), 0.3),
    "inputs of tokens": lambda: dropped(own(batch(ROWS, 3, D)), 0.3),
    "vicinal noise": noise,
    "attention": attention,
    "masked attention": lambda: attention(attn_mask=batch(D, D) < 1, scale=0.1),
    "causal attention": lambda: attention(is_causal=True),
    "gaps": lambda: complete(proposal(), own(with_gaps()), 4).x,
}


def after_a_seed(draw):
    torch.manual_seed(0)
    return draw(), torch.rand(3)


@functools.cache
def drawn(world):
    """All draws of each rank."""
    return on_ranks(world, lambda: {name: after_a_seed(draw) for name, draw in DRAWS.items()})


@WORLDS
@pytest.mark.parametrize("name", DRAWS)
def test_shares_interleave_to_what_one_process_draws(name, world):
    alone, after = after_a_seed(DRAWS[name])
    ranks = [rank[name] for rank in drawn(world)]
    found = torch.stack([share for share, _ in ranks], 1).flatten(0, 1)
    torch.testing.assert_close(found, alone, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(next_draw, after) for _, next_draw in ranks)


def test_what_all_rows_share_is_drawn_alike():
    def draw():
        return dropped(batch(7, 9), 0.4, of_batch=False), dropped(batch(9), 0.4)

    alone, _ = after_a_seed(draw)
    for share, _ in on_ranks(2, after_a_seed, draw):
        assert all(torch.equal(a, b) for a, b in zip(share, alone, strict=True))


def test_a_generator_of_its_own_is_nobody_elses():
    def draw():
        return complete(proposal(), with_gaps(), 4, generator=torch.Generator().manual_seed(3)).x

    for found in on_ranks(2, draw):
        torch.testing.assert_close(found, draw())


@WORLDS
def test_chunks_are_those_of_the_whole_batch(world):
    wholes = [torch.arange(rows) for rows in (12, 24, 36, 132)]
    ranks = on_ranks(world, lambda: [chunk_rows(own(whole), 8) for whole in wholes])
    for whole, *shares in zip(wholes, *ranks, strict=True):
        expected = [chunk.tolist() for chunk in whole.chunk(8)]
        assert [
            sorted(torch.cat(parts).tolist()) for parts in zip(*shares, strict=True)
        ] == expected


def test_a_flag_of_one_rank_is_known_to_all():
    def flags():
        last = torch.tensor(rank_of()[0] == 2)
        return any_rank(last), any_rank(last & ~last)

    assert [[bool(flag) for flag in found] for found in on_ranks(3, flags)] == [[True, False]] * 3


def test_gradients_go_back_to_the_rank_they_come_from():
    def gradient():
        rank, world = rank_of()
        x = torch.full((2,), 1.0 + rank, requires_grad=True)
        weights = torch.arange(1.0, world + 1).unsqueeze(1) * (1 + rank)
        everyone = gather(x)
        (weights * everyone.square()).sum().backward()
        return everyone.detach(), x.grad

    for rank, (everyone, gradient_of_it) in enumerate(on_ranks(3, gradient)):
        assert everyone[:, 0].tolist() == [1, 2, 3]
        # Of all three ranks' losses, which weigh 1 + 2 + 3 times as much together.
        assert gradient_of_it.tolist() == [6 * (rank + 1) * 2 * (rank + 1)] * 2


def test_packed_sequences_lose_other_states_on_each_rank():
    lengths = torch.tensor([3, 2, 1])

    def states():
        torch.manual_seed(0)
        rnn = UGMMRNN(D, 4, 2, dropout=0.5).double()
        x = torch.nn.utils.rnn.pack_padded_sequence(batch(3, 3, D), lengths)
        return rnn(x)[0].data.detach(), torch.rand(3)

    (first, after), (second, next_draw) = on_ranks(2, states)
    assert not torch.equal(first, second)
    assert torch.equal(after, next_draw)
