import numpy as np
import pytest

from datagen.balance import Counts
from datagen.lesions import label_lesions, score_lesions
from datagen.perturb import draft_prediction, edit, hollow, split
from datagen.scene import draw_scene
from datagen.strokes import paint_mask

SEEDS = range(30)


@pytest.fixture(scope="module")
def scene(bank):
    return draw_scene(bank, 8, 48, np.random.default_rng(3))


@pytest.fixture(scope="module")
def lesion(scene):
    """The largest lesion of the scene."""
    return max(scene.lesions, key=lambda stroke: (stroke.field < 0).sum())


def test_the_score_of_a_draft_is_close_to_the_one_aimed_at(scene, bank):
    for hits, false in ((8, 0), (4, 4), (1, 12)):
        reached = []
        for seed in SEEDS:
            rng = np.random.default_rng(seed)
            draft = draft_prediction(scene, Counts(hits, false), bank, rng)
            drawn = paint_mask([*draft.found, *draft.false], scene.shape)
            reached.append(score_lesions(scene.truth, drawn).f1)
        aimed = 2 * hits / (8 + hits + false)
        assert np.median(reached) == pytest.approx(aimed, abs=0.08)


def test_false_lesions_touch_neither_truth_nor_found_ones(scene, bank):
    for seed in SEEDS:
        draft = draft_prediction(scene, Counts(4, 9), bank, np.random.default_rng(seed))
        false, found = (paint_mask(strokes, scene.shape) for strokes in (draft.false, draft.found))
        apart = label_lesions(false)[1] + label_lesions(scene.truth | found)[1]
        assert label_lesions(scene.truth | found | false)[1] == apart


def test_traces_of_missed_lesions_stay_below_one_half(scene, bank):
    drafts = [draft_prediction(scene, Counts(2, 0), bank, np.random.default_rng(s)) for s in SEEDS]
    peaks = [stroke.peak for draft in drafts for stroke in draft.missed]
    assert 0 < len(peaks) < 6 * len(SEEDS)
    assert max(peaks) < 0.5


def test_a_draft_depends_on_its_generator_alone(scene, bank):
    first, second = (
        draft_prediction(scene, Counts(4, 4), bank, np.random.default_rng(1)) for _ in range(2)
    )
    for one, other in zip(first.strokes, second.strokes, strict=True):
        assert one[1:] == other[1:]
        np.testing.assert_array_equal(one.field, other.field)


def test_an_edited_lesion_still_touches_itself(scene, lesion):
    whole = paint_mask([lesion], scene.shape)
    kinds = set()
    for seed in SEEDS:
        edited = paint_mask([edit(lesion, np.random.default_rng(seed))], scene.shape)
        assert (edited & whole).any()
        kinds.add(int(edited.sum()))
    assert len(kinds) > 5


def test_a_split_lesion_has_a_gap(lesion):
    halves = split(lesion).field < 0
    assert label_lesions(halves)[1] >= 2
    assert (halves <= (lesion.field < 0)).all()


def test_a_lesion_of_one_voxel_is_not_split_away(scene):
    small = min(scene.lesions, key=lambda stroke: (stroke.field < 0).sum())
    assert (split(small).field < 0).any()
    assert (hollow(small, np.random.default_rng(0)).field < 0).any()


def test_a_hole_takes_voxels_from_inside_alone(lesion):
    for seed in SEEDS:
        left = hollow(lesion, np.random.default_rng(seed)).field < 0
        assert left.any()
        assert (left <= (lesion.field < 0)).all()
