import numpy as np
import pytest
import torch

from datagen.densities import lesion_densities
from datagen.errors import InputError
from datagen.lesions import match_lesions, score_lesions
from datagen.store import PairFile
from metricnet.data import (
    DrawSampler,
    PairDataset,
    dealt_together,
    flipped,
    load_draws,
    turn_alike,
)


def test_draws_of_an_epoch_follow_those_of_the_one_before():
    sampler = DrawSampler(3)
    assert list(sampler) == [0, 1, 2]
    sampler.set_epoch(2)
    assert list(sampler) == [6, 7, 8]
    assert len(sampler) == 3


def test_turning_keeps_the_score(rng):
    truth, prediction = rng.random((2, 12, 12, 12)) > 0.9
    turned = turn_alike((truth, prediction), rng)
    assert not np.array_equal(turned[0], truth)
    assert score_lesions(*turned) == score_lesions(truth, prediction)


def test_turned_densities_are_those_of_the_turned_masks(rng):
    truth, prediction = rng.random((2, 16, 16, 16)) > 0.97
    densities = lesion_densities(match_lesions(truth, prediction))
    *turned, turned_densities = turn_alike((truth, prediction, densities), rng)
    np.testing.assert_allclose(
        turned_densities.astype(float),
        lesion_densities(match_lesions(*turned)).astype(float),
        atol=2e-3,
    )


def test_a_draw_depends_on_seed_and_number_alone(tiny_pairs):
    first, second = PairDataset(tiny_pairs, "train", 3), PairDataset(tiny_pairs, "train", 3)
    assert all(torch.equal(a, b) for a, b in zip(first[11], second[11], strict=True))
    other = PairDataset(tiny_pairs, "train", 4)
    assert not torch.equal(first[11].probability, other[11].probability)


def test_processes_that_draw_hand_over_the_draws_of_one(tiny_pairs):
    data = PairDataset(tiny_pairs, "train", seed=3)
    data[0]  # opens the file here, which a process forked from this one must not go on with
    loaders = [load_draws(data, 2, DrawSampler(6), 1, processes) for processes in (0, 2)]
    here, there = (list(loader) for loader in loaders)
    assert len(here) == 3
    for one, other in zip(here, there, strict=True):
        assert all(torch.equal(*parts) for parts in zip(one, other, strict=True))
    assert torch.equal(here[0].stored[1], data[7].stored)  # the second draw of the second epoch


def test_a_split_without_pairs_is_refused(tiny_pairs):
    with pytest.raises(InputError, match="no pair of split 'test'"):
        PairDataset(tiny_pairs, "test")


def test_draws_come_in_twos_of_relatives_that_are_turned_alike(tiny_pairs):
    data = PairDataset(tiny_pairs, "train", 3)
    twos = [(data[2 * number], data[2 * number + 1]) for number in range(40)]
    changed = 0
    for first, second in twos:
        assert first.family == second.family
        assert torch.equal(first.mask, second.mask)
        changed += not torch.equal(first.stored, second.stored)
    assert changed > 30  # a patch without a lesion has none to flip


def test_a_flipped_pair_is_scored_anew(tiny_pairs):
    data = PairDataset(tiny_pairs, "train")
    rng = np.random.default_rng(0)
    with PairFile(tiny_pairs) as file:
        agreement = file.agreement
    pairs = [data.read(item) for item in range(12)]
    changed = 0
    for before in pairs:
        after = flipped(before, agreement, rng)
        truth, predicted = after.truth > 0, after.stored >= 128
        assert after.f1 == score_lesions(truth, predicted).f1
        assert np.array_equal(after.densities, lesion_densities(match_lesions(truth, predicted)))
        assert np.array_equal(after.truth, before.truth)
        changed += after.f1 != before.f1
    assert changed > 4


def test_a_sample_turns_bytes_into_numbers(tiny_pairs):
    sample = PairDataset(tiny_pairs, "train")[0]
    assert sample.stored.dtype == sample.mask.dtype == torch.uint8
    assert 0 <= sample.probability.min() <= sample.probability.max() <= 1
    assert torch.equal(sample.truth, (sample.mask > 0).float())


@pytest.mark.parametrize("rank", [0, 1])
def test_draws_that_belong_together_go_to_one_process(monkeypatch, rank):
    for name, value in (("is_initialized", True), ("get_rank", rank), ("get_world_size", 2)):
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    assert list(DrawSampler(8)) == [rank, 2 + rank, 4 + rank, 6 + rank]
    first = 2 * rank
    assert list(DrawSampler(8, together=2)) == [first, first + 1, 4 + first, 5 + first]
    assert len(DrawSampler(8, together=2)) == 4
    for share in (2, 3):
        assert len(DrawSampler(3 * 2 * share, dealt_together(share))) == 3 * share
