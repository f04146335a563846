import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from datagen.scans import Scans
from datagen.volumes import Grid
from metricnet.data import DrawSampler
from segnet.data import MixedDataset, PatchDataset, PatchOptions
from segnet.sampling import Centres, Shares, count_share, find_distractors


def case(lesions: list[int], rng: np.random.Generator, bright: int | None = None) -> Scans:
    """A case with a new lesion of 2³ voxels at each place along the diagonal."""
    brain, truth = np.ones((32, 32, 32), bool), np.zeros((32, 32, 32), bool)
    for at in lesions:
        truth[at : at + 2, at : at + 2, at : at + 2] = True
    time1 = rng.normal(0, 0.3, truth.shape).astype(np.float32)
    if bright is not None:
        time1[bright : bright + 3, 2:5, 2:5] = 6  # an old lesion
    time2 = (time1 + rng.normal(0, 0.05, truth.shape) + 4 * truth).astype(np.float32)
    return Scans(time1, time2, brain, truth, Grid((32, 32, 32), np.eye(4)))


def test_every_new_lesion_is_seen_once_before_any_comes_again(rng):
    cases = [case([4, 12, 24], rng), case([], rng), case([8, 20, 27], rng)]
    centres = Centres(cases, Shares(1.0), jitter=0, seed=3)
    for start in (0, 6, 12):
        seen = set()
        for item in range(start, start + 6):
            number, centre = centres.draw(item, np.random.default_rng(item))
            assert cases[number].truth[tuple(centre)]
            seen.add((number, int(centre[0]) // 4))
        assert len(seen) == 6


@pytest.mark.parametrize(("lesions", "distractors"), [(0.5, 0.25), (0.6, 0.2), (0.7, 0.9)])
def test_shares_hold_among_the_first_draws(rng, lesions, distractors):
    held = case([20], rng, bright=4)
    centres = Centres([held], Shares(lesions, distractors), jitter=0, seed=0)
    draws = [centres.draw(item, np.random.default_rng(item))[1] for item in range(100)]
    on_lesion = sum(held.truth[tuple(centre)] for centre in draws)
    on_distractor = sum(held.time1[tuple(centre)] > 3 for centre in draws)
    assert on_lesion == pytest.approx(100 * lesions, abs=1)
    assert on_distractor == pytest.approx(100 * min(distractors, 1 - lesions), abs=2)


def test_distractors_are_old_lesions_and_never_the_truth(rng):
    held = case([20], rng, bright=4)
    points = np.concatenate(find_distractors(held))
    assert not held.truth[tuple(points.T)].any()
    assert (held.time1[tuple(points.T)] > 3).any()


def test_a_share_is_counted_without_rounding_errors():
    assert [count_share(5 * n, 0.6) for n in range(5)] == [0, 3, 6, 9, 12]
    assert count_share(7, 0.0) == 0
    assert count_share(7, 1.0) == 7


def test_each_batch_holds_the_stated_share_of_real_patches(rng):
    real, synthetic = case([8], rng), case([20], rng)
    synthetic = synthetic._replace(time1=synthetic.time1 + 100)
    datasets = [
        PatchDataset([one], 16, 0.5, 0, None, PatchOptions("none")) for one in (real, synthetic)
    ]
    mixed = MixedDataset(*datasets, 0.25)
    for batch in range(5):
        is_real = [mixed[item].visits[0].mean() < 50 for item in range(4 * batch, 4 * batch + 4)]
        assert sum(is_real) == 1


def test_synthetic_cases_are_numbered_after_the_real_ones(rng):
    cases = [case([8], rng), case([20], rng), case([14], rng)]
    options = PatchOptions("none")
    real, made = (PatchDataset(some, 16, 1.0, 0, None, options) for some in (cases[:2], cases[2:]))
    mixed = MixedDataset(real, made, 0.5)
    maps = [np.full(one.truth.shape, number, np.float32) for number, one in enumerate(cases)]
    mixed.add_maps([[one] for one in maps])
    samples = [mixed[item] for item in range(8)]
    assert [int(sample.case) for sample in samples].count(2) == 4
    assert {int(sample.case) for sample in samples} == {0, 1, 2}
    assert all(int(sample.maps.max()) == int(sample.case) for sample in samples)


@pytest.mark.parametrize("strength", ["light", "full"])
def test_workers_draw_what_the_training_itself_draws(rng, strength):
    options = PatchOptions(strength, 0.2)
    dataset = PatchDataset([case([8, 20], rng, bright=4)], 16, 0.5, 1, None, options)
    loaders = [DataLoader(dataset, 2, sampler=DrawSampler(8), num_workers=n) for n in (0, 2)]
    for alone, shared_out in zip(*loaders, strict=True):
        assert torch.equal(alone.visits, shared_out.visits)
        assert torch.equal(alone.truth, shared_out.truth)


def test_warped_patches_keep_the_patch_size_and_their_labels(rng):
    dataset = PatchDataset([case([14], rng)], 16, 1.0, 0, None, PatchOptions("full"))
    for item in range(20):
        sample = dataset[item]
        assert sample.visits.shape == (2, 16, 16, 16)
        assert set(sample.truth.unique().tolist()) <= {0.0, 1.0}
