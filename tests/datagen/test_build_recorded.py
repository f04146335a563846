import nibabel as nib
import numpy as np
import pytest

from datagen.build import BuildSettings, build
from datagen.errors import InputError
from datagen.lesions import label_lesions
from datagen.recordings import Recording, write_recordings
from datagen.store import PairFile


def settings_for(masks, out, **changes):
    changes = {"patch": 32, "workers": 1, "validation_fraction": 0.3, **changes}
    return BuildSettings(masks=(masks,), out=out, **changes)


@pytest.fixture
def recorded(masks, tmp_path):
    """Recordings of what a network could have predicted of two of the patients."""
    rng = np.random.default_rng(0)
    truth = np.zeros((32, 32, 32), np.uint8)
    for x, y, z in rng.integers(2, 28, (6, 3)):
        truth[x : x + 3, y : y + 3, z : z + 3] = 1
    labels, count = label_lesions(truth > 0)
    predictions = []
    for number in range(20):
        stored = np.where((rng.random(truth.shape) > 0.9997) & (truth == 0), 150, 0)
        for lesion in range(1, count + 1):
            stored[labels == lesion] = rng.choice((60, 200))
        names = f"patient{number % 2}", f"patient{number % 2}"
        predictions.append(Recording(truth, stored.astype(np.uint8), *names, number))
    write_recordings(tmp_path / "recorded" / "step0.h5", predictions, 1.0)
    return tmp_path / "recorded"


def test_recorded_predictions_have_their_share_and_their_patients_side(masks, recorded, tmp_path):
    out = tmp_path / "pairs.h5"
    build(settings_for(masks, out, pairs=200, predictions=(recorded,), prediction_share=0.3))
    with PairFile(out) as file:
        styles, splits = file.column("style"), file.column("split")
        patients, parameters = file.column("patient"), file.column("parameters")
    is_recorded = styles == "recorded"
    assert is_recorded.sum() == 60
    assert all('"step"' in text for text in parameters[is_recorded])
    sides = dict(zip(patients[~is_recorded], splits[~is_recorded], strict=True))
    assert all(
        sides[patient] == split
        for patient, split in zip(patients[is_recorded], splits[is_recorded], strict=True)
    )


def test_recorded_predictions_are_erased_to_other_scores(masks, recorded, tmp_path):
    out = tmp_path / "pairs.h5"
    build(settings_for(masks, out, pairs=100, predictions=(recorded,), prediction_share=0.8))
    with PairFile(out) as file:
        f1 = file.column("f1")[file.column("style") == "recorded"]
    assert np.unique(np.floor(f1 * 10)).size >= 6


def test_recordings_of_another_patch_leave_nothing_behind(masks, recorded, tmp_path):
    with pytest.raises(InputError, match="build pairs with --patch 32, or record with --patch 16"):
        build(settings_for(masks, tmp_path / "p.h5", patch=16, predictions=(recorded,)))
    assert not (tmp_path / "p.h5.parts").exists()


def test_a_map_of_a_case_with_two_masks_is_refused(masks, tmp_path, save):
    other = tmp_path / "all_lesions"
    other.mkdir()
    (other / "patient0.nii.gz").write_bytes((masks / "patient0.nii.gz").read_bytes())
    predicted = np.full(nib.load(masks / "patient0.nii.gz").shape, 0.5, np.float32)
    save(predicted, tmp_path / "predicted" / "patient0" / "probability.nii.gz")
    settings = settings_for(
        masks, tmp_path / "pairs.h5", pairs=40, predictions=(tmp_path / "predicted",)
    )
    with pytest.raises(InputError, match=r"patient0, which has two masks, .*all_lesions"):
        build(settings.model_copy(update={"masks": (masks, other)}))


def test_whole_predicted_maps_are_cut_into_pairs(masks, tmp_path, save):
    for number in range(4):
        truth = np.asanyarray(nib.load(masks / f"patient{number}.nii.gz").dataobj) > 0
        predicted = np.where(np.roll(truth, 1, axis=0), 0.8, 0.05).astype(np.float32)
        save(predicted, tmp_path / "predicted" / f"patient{number}" / "probability.nii.gz")
    out = tmp_path / "pairs.h5"
    build(settings_for(masks, out, pairs=60, predictions=(tmp_path / "predicted",)))
    with PairFile(out) as file:
        is_recorded = file.column("style") == "recorded"
        assert is_recorded.sum() == 30
        assert set(file.column("split")[is_recorded]) == {"train", "validation"}


def test_recordings_of_patients_kept_for_the_test_are_not_taken(masks, recorded, tmp_path):
    lines = ["case,time1,time2,truth,split"]
    for number, split in enumerate(("test", "train", "train", "validation")):
        mask = masks / f"patient{number}.nii.gz"
        lines.append(f"patient{number},{mask},{mask},{mask},{split}")
    source, out = tmp_path / "cohort.csv", tmp_path / "pairs.h5"
    source.write_text("\n".join(lines))
    build(settings_for(source, out, pairs=60, predictions=(recorded,), prediction_share=0.5))
    with PairFile(out) as file:
        is_recorded = file.column("style") == "recorded"
        assert set(file.column("patient")[is_recorded]) == {"patient1"}


@pytest.fixture
def predicted_of_test(masks, tmp_path, save):
    """A cohort that keeps p1_b for the test, and not p1, and a map named after each case."""
    names = {"p1": "train", "p1_b": "test", "p2": "validation", "p3": "train"}
    lines = ["case,time1,time2,truth,split"]
    for number, (name, split) in enumerate(names.items()):
        mask = masks / f"patient{number}.nii.gz"
        lines.append(f"{name},{mask},{mask},{mask},{split}")
        truth = np.asanyarray(nib.load(mask).dataobj) > 0
        predicted = np.where(np.roll(truth, 1, axis=0), 0.8, 0.05).astype(np.float32)
        save(predicted, tmp_path / "maps" / f"{name}_probability.nii.gz")
    (tmp_path / "cohort.csv").write_text("\n".join(lines))
    return tmp_path / "cohort.csv", tmp_path / "maps"


def test_maps_of_cases_kept_for_the_test_are_not_taken(predicted_of_test, tmp_path):
    source, maps = predicted_of_test
    out = tmp_path / "pairs.h5"
    build(settings_for(source, out, pairs=60, predictions=(maps,), prediction_share=0.5))
    with PairFile(out) as file:
        is_recorded = file.column("style") == "recorded"
        assert set(file.column("patient")[is_recorded]) == {"p1", "p2", "p3"}


def test_maps_of_cases_to_test_alone_are_refused(predicted_of_test, tmp_path):
    source, maps = predicted_of_test
    for path in maps.iterdir():
        if not path.name.startswith("p1_b"):
            path.unlink()
    with pytest.raises(InputError, match="whom --masks keep for the test"):
        build(settings_for(source, tmp_path / "p.h5", predictions=(maps,)))


def test_patients_without_masks_can_be_held_out_where_no_mask_is(masks, recorded, tmp_path):
    lines = ["case,time1,time2,truth,split"]
    for number in range(4):
        mask = masks / f"patient{number}.nii.gz"
        lines.append(f"other{number},{mask},{mask},{mask},train")
    (tmp_path / "cohort.csv").write_text("\n".join(lines))
    out, source = tmp_path / "pairs.h5", tmp_path / "cohort.csv"
    changes = {"prediction_share": 0.5, "validation_fraction": 0.5, "styles": ("blur",)}
    build(settings_for(source, out, pairs=40, predictions=(recorded,), **changes))
    with PairFile(out) as file:
        assert set(file.column("split")) == {"train", "validation"}
