"""Batches are the same whatever the number of devices, and resume where they stopped."""

import cmath
import math
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from ugmm.data.batches import EvaluationBatches, GaussianNoise, TrainingBatches
from ugmm.data.images import RandomShift
from ugmm.errors import UserError

SHIFT = RandomShift(2, (28, 28))
ROWS, WORLDS = st.integers(1, 70), st.integers(1, 8)


def rows_of(n):
    """Row i holds 2 i and 2 i + 1, and has label i."""
    return torch.arange(2.0 * n).view(n, 2), torch.arange(n)


def training(n, batch_size, epoch=0, **options):
    return TrainingBatches(*rows_of(n), batch_size=batch_size, epoch=lambda: epoch, **options)


def labels(batches):
    return [y.tolist() for _, y in batches]


@given(n=ROWS, per_rank=st.integers(1, 20), world=WORLDS, seed=st.integers(0, 5))
def test_ranks_together_see_what_one_process_sees(n, per_rank, world, seed):
    if n < world:
        return
    batch_size = per_rank * world
    alone = labels(training(n, batch_size, epoch=3, seed=seed))
    ranks = [
        labels(training(n, batch_size, epoch=3, seed=seed, rank=rank, world_size=world))
        for rank in range(world)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    for together, shares in zip(alone, zip(*ranks, strict=True), strict=True):
        assert len({len(share) for share in shares}) == 1
        # Only a single batch of all n rows can be uneven; it loses its last n % world rows.
        if n < batch_size:
            together = together[: n - n % world]
        assert [y for row in zip(*shares, strict=True) for y in row] == together


@given(n=ROWS, batch_size=st.integers(1, 90))
def test_training_batches_are_full_and_repeat_no_row(n, batch_size):
    loader = training(n, batch_size)
    batches = list(loader)
    assert len(batches) == len(loader) == max(1, n // batch_size)
    assert {len(y) for _, y in batches} == {min(n, batch_size)}
    seen = torch.cat([y for _, y in batches])
    assert len(seen.unique()) == len(seen)
    assert torch.equal(torch.cat([x for x, _ in batches])[:, 0], 2.0 * seen)


def test_the_order_is_decided_by_seed_and_epoch_alone():
    orders = {
        (seed, epoch): tuple(map(tuple, labels(training(50, 10, epoch=epoch, seed=seed))))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(set(orders.values())) == 9
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert orders[2, 1] == tuple(map(tuple, labels(training(50, 10, epoch=1, seed=2))))
    assert torch.equal(before, torch.get_rng_state())


def test_the_epoch_is_asked_for_with_the_first_batch():
    epoch = 0
    loader = TrainingBatches(*rows_of(50), batch_size=10, epoch=lambda: epoch)
    iterator = iter(loader)
    epoch = 4
    assert labels(iterator) == labels(training(50, 10, epoch=4))


def test_resuming_continues_behind_the_last_batch():
    whole = labels(training(50, 10, epoch=2))
    interrupted = training(50, 10, epoch=2)
    iterator = iter(interrupted)
    for _ in range(3):
        next(iterator)
    resumed = training(50, 10, epoch=2)
    resumed.load_state_dict(interrupted.state_dict())
    assert labels(resumed) == whole[3:]
    assert labels(resumed) == whole  # once only


def test_the_state_of_another_epoch_is_of_no_effect():
    finished = training(50, 10, epoch=2)
    list(finished)
    following = training(50, 10, epoch=3)
    following.load_state_dict(finished.state_dict())
    assert labels(following) == labels(training(50, 10, epoch=3))


@pytest.mark.parametrize(
    ("batch_size", "world", "advice"), [(255, 2, "254 or 256"), (4, 8, "use 8")]
)
def test_a_batch_that_cannot_be_divided_is_refused(batch_size, world, advice):
    with pytest.raises(UserError, match=f"data.batch_size={batch_size} cannot .*{advice}"):
        training(1000, batch_size, world_size=world)


def test_fewer_rows_than_devices_are_refused():
    with pytest.raises(UserError, match="3 rows"):
        training(3, 8, world_size=4)
    with pytest.raises(UserError, match="3 rows"):
        EvaluationBatches(*rows_of(3), batch_size=8, world_size=4)


@given(n=ROWS, batch_size=st.integers(1, 90), world=WORLDS)
def test_evaluation_covers_each_row_once_and_every_rank_takes_as_many_steps(n, batch_size, world):
    if n < world:
        return
    loaders = [
        EvaluationBatches(*rows_of(n), batch_size=batch_size, rank=rank, world_size=world)
        for rank in range(world)
    ]
    ranks = [labels(loader) for loader in loaders]
    assert {len(batches) for batches in ranks} == {len(loaders[0])}
    assert all(batch for batches in ranks for batch in batches)
    global_batches = [sorted(chain(*shares)) for shares in zip(*ranks, strict=True)]
    assert list(chain(*global_batches)) == list(range(n))
    sizes = {len(batch) for batch in global_batches}
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(batch_size, 2 * world - 1)


@given(n=ROWS, batch_size=st.integers(1, 90), world=WORLDS, batches=st.integers(1, 9))
def test_evaluation_knows_which_rows_it_gave_to_which_rank(n, batch_size, world, batches):
    if n < world:
        return
    loaders = [
        EvaluationBatches(*rows_of(n), batch_size=batch_size, rank=rank, world_size=world)
        for rank in range(world)
    ]
    given_out = chain(*(chain(*labels(loader)[:batches]) for loader in loaders))
    assert loaders[0].gathered(batches).tolist() == list(given_out)


def test_evaluation_serves_features_with_their_labels():
    for x, y in EvaluationBatches(*rows_of(20), batch_size=6, rank=1, world_size=2):
        assert torch.equal(x[:, 0], 2.0 * y)
        assert x.is_contiguous()


def test_shifts_move_images_and_uncover_zeros():
    image = torch.arange(1.0, 13.0).view(1, 3, 4)
    shift = RandomShift(1, (3, 4))
    # A window one row further down and one column further left than the image's own.
    moved = shift(image.view(1, 12), torch.tensor([[2, 0]])).view(3, 4)
    expected = torch.zeros(3, 4)
    expected[:2, 1:] = image[0, 1:, :3]
    assert torch.equal(moved, expected)
    unmoved = shift(image.view(1, 12), torch.tensor([[1, 1]]))
    assert torch.equal(unmoved, image.view(1, 12))


def test_shifts_are_all_drawn_and_in_range():
    drawn = RandomShift(2, (28, 28)).draw(2000, torch.Generator().manual_seed(0))
    assert sorted(drawn.unique().tolist()) == [0, 1, 2, 3, 4]
    assert drawn.shape == (2000, 2)


@pytest.mark.parametrize(
    "augmentations",
    [[SHIFT], [GaussianNoise(0.3)], [SHIFT, GaussianNoise(1)]],
)
def test_a_row_is_changed_alike_whatever_the_number_of_devices(augmentations):
    x, y = torch.rand(30, 784), torch.arange(30)
    options = {"batch_size": 10, "epoch": lambda: 1, "augmentations": augmentations}
    alone = torch.empty_like(x)
    for images, rows in TrainingBatches(x, y, **options):
        alone[rows] = images
    for rank in range(2):
        for images, rows in TrainingBatches(x, y, rank=rank, world_size=2, **options):
            assert torch.equal(images, alone[rows])
    assert not torch.equal(alone, x)
    other = torch.empty_like(x)
    for images, rows in TrainingBatches(x, y, **{**options, "epoch": lambda: 2}):
        other[rows] = images
    assert not torch.equal(other, alone)


def split_mix(seed, draws):
    """The generator by its definition, in whole numbers."""
    modulus = 2**64
    for draw in range(1, draws + 1):
        z = (seed + draw * 0x9E3779B97F4A7C15) % modulus
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % modulus
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % modulus
        yield z ^ (z >> 31)


def test_noise_is_made_of_split_mix_by_box_and_muller():
    assert next(split_mix(1234567, 1)) == 6457827717110365317  # the published first draw
    seeds = [1234567, 2**63 - 2]
    noise = GaussianNoise(0.5)(torch.zeros(2, 7), torch.tensor(seeds))
    for row, seed in zip(noise.tolist(), seeds, strict=True):
        pairs = [
            cmath.rect(
                0.5 * math.sqrt(-2 * math.log(((bits >> 32) + 0.5) / 2**32)),
                2 * math.pi * (bits % 2**32) / 2**32,
            )
            for bits in split_mix(seed, 4)
        ]
        expected = [pair.real for pair in pairs] + [pair.imag for pair in pairs]
        assert row == pytest.approx(expected[:7], abs=2e-6)


def test_noise_is_normal_and_independent():
    noise = GaussianNoise(2.0)
    numbers = noise.draw(2000, torch.Generator().manual_seed(0))
    drawn = noise(torch.zeros(2000, 50), numbers).double().numpy() / 2
    assert kstest(drawn.ravel(), "norm").pvalue > 0.01
    # Correlations of 2,000 pairs are N(0, 1 / 2000); the largest of 1,225 is below 4.5 of these.
    among = np.corrcoef(drawn.T) - np.eye(50)
    assert abs(among).max() < 4.5 / 2000**0.5
    assert abs(np.corrcoef(drawn.ravel()[:-50], drawn.ravel()[50:])[0, 1]) < 4 / drawn.size**0.5


def test_noise_leaves_what_is_missing():
    x = torch.tensor([[1.0, math.nan, 3.0]])
    assert GaussianNoise(0.1)(x, torch.tensor([5])).isnan().tolist() == [[False, True, False]]
