import json
import shutil
import sys

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from nibabel.affines import apply_affine
from scipy import ndimage

from datagen import raw_visits, registration, stripping
from datagen.anatomy import deform, load_anatomy
from datagen.cli import main
from datagen.cohort import read_cohort
from datagen.errors import InputError
from datagen.files import read_table
from datagen.layouts import Case
from datagen.raw_visits import Options, middle_grid, prepare
from datagen.registration import Middle
from datagen.resampling import resample
from datagen.volumes import Grid

# the head of visit 1 is turned by 8 degrees about the axis from ear to ear, and moved
ANGLE = np.radians(8)
MOVED = np.array(
    [
        [1, 0, 0, 4],
        [0, np.cos(ANGLE), -np.sin(ANGLE), -6],
        [0, np.sin(ANGLE), np.cos(ANGLE), 9],
        [0, 0, 0, 1.0],
    ]
)
LESION_MM = (25, -20, 25)


def _heads(rng: np.random.Generator) -> tuple[list[nib.Nifti1Image], np.ndarray, np.ndarray]:
    """Two visits of a whole head of 3 mm voxels, the brain and the new lesion of visit 2."""
    anatomy = deform(load_anatomy(), rng)
    affine = np.diag([3.0, 3, 3, 1])
    affine[:3, 3] = (-105, -135, -105)
    grid = Grid((70, 80, 70), affine)
    shown = anatomy.grey + 0.8 * anatomy.white + 0.1 * anatomy.csf
    scan, brain = (
        resample(nib.Nifti1Image(volume.astype(np.float32), anatomy.affine), grid)
        for volume in (shown, anatomy.brain_mask)
    )
    away_mm = 3 * ndimage.distance_transform_edt(brain < 0.5)
    scan += 0.9 * ((away_mm > 7) & (away_mm < 14))  # the scalp, beyond the dark bone
    indices = np.moveaxis(np.indices(grid.shape), 0, -1)
    places = apply_affine(affine, indices)
    lesion = np.linalg.norm(places - LESION_MM, axis=-1) < 7
    bias = np.exp(places[..., 0] / 200)
    time1 = nib.Nifti1Image(scan.astype(np.float32), MOVED @ affine)
    time1 = nib.Nifti1Image(resample(time1, grid), affine)
    visits = []
    for values in (np.asanyarray(time1.dataobj), (scan + 0.6 * lesion) * bias):
        noisy = 500 * (values + 0.02 * rng.standard_normal(grid.shape))
        visits.append(nib.Nifti1Image(np.maximum(noisy, 0).astype(np.float32), affine))
    return visits, brain >= 0.5, lesion


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw") / "patient 1"
    folder.mkdir()
    visits, brain, lesion = _heads(np.random.default_rng(3))
    for number, visit in enumerate(visits, start=1):
        nib.save(visit, folder / f"flair_time0{number}_on_middle_space.nii.gz")
    affine = visits[1].affine
    nib.save(nib.Nifti1Image(lesion.astype(np.uint8), affine), folder / "ground_truth.nii.gz")
    nib.save(nib.Nifti1Image(brain.astype(np.uint8), affine), folder.parent / "true_brain.nii.gz")
    return folder.parent


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory, run):
    out = tmp_path_factory.mktemp("prepared") / "cohort"
    with pytest.MonkeyPatch.context() as patch:
        # coarser grids and fewer steps take a fraction of the time
        patch.setattr(registration, "CUBE_MM", 4.0)
        patch.setattr(registration, "_BIAS_MM", 6.0)
        patch.setattr(stripping, "_ITERATIONS", 8)
        run("datagen", "preprocess", raw, "--out", out)
    return out


def _refused(*words):
    """Run the command, which is to fail in one line; return that."""
    result = CliRunner().invoke(main, ["preprocess", *map(str, words)])
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1
    return result.output


def _load(path):
    image = nib.load(path)
    return np.asanyarray(image.dataobj), image


def test_the_brain_is_found_in_a_head(raw, prepared):
    mask, image = _load(prepared / "patient 1" / "brain_mask.nii.gz")
    back = np.loadtxt(prepared / "patient 1" / "middle_to_time2.txt")
    truth = nib.load(raw / "true_brain.nii.gz")
    placed = nib.Nifti1Image(np.asanyarray(truth.dataobj), np.linalg.inv(back) @ truth.affine)
    wanted = resample(placed, Grid(mask.shape, image.affine)) >= 0.5
    assert 2 * (wanted & (mask > 0)).sum() / (wanted.sum() + mask.sum()) > 0.95


def test_visits_are_brought_together(prepared):
    folder = prepared / "patient 1"
    back1, back2 = (np.loadtxt(folder / f"middle_to_time{visit}.txt") for visit in (1, 2))
    between = back1 @ np.linalg.inv(back2)
    corners = np.array([[-60, -80, -40], [60, 60, 60], [0, 0, 0]])
    wanted = apply_affine(MOVED, corners)
    assert np.abs(apply_affine(between, corners) - wanted).max() < 1  # mm, a third of a voxel
    np.testing.assert_allclose(back1 @ back2, np.eye(4), atol=1e-6)  # each went halfway
    (row,) = read_table(prepared / "preprocess.csv")
    assert float(row["rotation_degrees"]) == pytest.approx(8, abs=0.5)
    assert float(row["correlation"]) > 0.9


def test_the_new_lesion_stays_where_it_is_bright(prepared):
    (case,) = read_cohort(prepared)
    assert (case.name, case.brain_mask is not None) == ("patient 1", True)
    truth, brain = (_load(path)[0] > 0 for path in (case.truth, case.brain_mask))
    gain = _load(case.time2)[0] / np.median(_load(case.time2)[0][brain])
    gain -= _load(case.time1)[0] / np.median(_load(case.time1)[0][brain])
    assert gain[truth].mean() > 0.5
    assert np.abs(gain[brain & ~ndimage.binary_dilation(truth, iterations=2)]).mean() < 0.1


def test_the_bias_field_is_gone(prepared):
    time2, image = _load(prepared / "patient 1" / "flair_time02_on_middle_space.nii.gz")
    brain = _load(prepared / "patient 1" / "brain_mask.nii.gz")[0] > 0
    x_mm = apply_affine(image.affine, np.argwhere(brain))[:, 0]
    left, right = (np.median(time2[brain][side]) for side in (x_mm < -20, x_mm > 20))
    assert right / left == pytest.approx(1, abs=0.1)  # before: 1.5


def test_a_list_and_a_picture_come_with_it(prepared):
    (case,) = read_cohort(prepared / "cohort.csv")
    assert case.truth.is_file()
    assert (prepared / "patient 1" / "overview.png").stat().st_size > 10_000


def test_a_finished_case_is_kept_and_other_options_are_refused(raw, prepared, run):
    note = prepared / "patient 1" / "preprocess.json"
    before = note.stat().st_mtime_ns
    run("datagen", "preprocess", raw, "--out", prepared, "--resume")
    assert note.stat().st_mtime_ns == before
    failed = _refused(raw, "--out", prepared)
    assert "is not empty; choose another --out, or go on there with --resume" in failed
    failed = _refused(raw, "--out", prepared, "--resume", "--no-bias")
    assert "was made with other options; choose another --out" in failed
    text = note.read_text()
    truth = raw / "patient 1" / "ground_truth.nii.gz"
    kept = truth.read_bytes()
    nib.save(nib.Nifti1Image(np.zeros((70, 80, 70), np.uint8), nib.load(truth).affine), truth)
    failed = _refused(raw, "--out", prepared, "--resume")
    assert "was made of files that were replaced since; delete it" in failed
    truth.write_bytes(kept)
    older = json.loads(text)
    del older["contents"]
    note.write_text(json.dumps(older))
    run("datagen", "preprocess", raw, "--out", prepared, "--resume")
    assert json.loads(note.read_text()) == older
    note.write_text(text[: len(text) // 2])
    failed = _refused(raw, "--out", prepared, "--resume")
    assert f"{note} is damaged; delete {note.parent}, and go on with" in failed
    note.write_text(text)


def test_a_finished_case_of_another_patient_is_not_taken_for_this_one(raw, prepared, tmp_path):
    shutil.copytree(raw / "patient 1", tmp_path / "raw" / "patient 1")
    failed = _refused(tmp_path / "raw", "--out", prepared, "--resume")
    assert "was made with other sources; choose another --out" in failed


def test_the_raw_scans_are_not_written_over(raw):
    before = {path: path.stat().st_mtime_ns for path in raw.rglob("*.nii.gz")}
    failed = _refused(raw, "--out", raw, "--resume")
    assert "holds the raw scan" in failed
    assert {path: path.stat().st_mtime_ns for path in raw.rglob("*.nii.gz")} == before


def test_a_visit_that_lost_its_place_is_registered_by_its_mass(rng):
    places = np.moveaxis(np.indices((24, 24, 24)), 0, -1)
    scan = np.linalg.norm((places - 11) / (9, 7, 5), axis=-1) < 1
    scan = 100 * ndimage.gaussian_filter(scan.astype(np.float32), 1.5)
    scan += 5 * ndimage.gaussian_filter(rng.normal(size=scan.shape), 2)
    away = np.diag([3.0, 3, 3, 1])
    away[:3, 3] = (900, 0, 0)
    visits = [
        nib.Nifti1Image(scan.astype(np.float32), to) for to in (away, np.diag([3.0, 3, 3, 1]))
    ]
    middle = registration.find_middle(*visits, scan > 20)
    shift = middle.to_time1 @ np.linalg.inv(middle.to_time2)
    assert shift[:3, 3] == pytest.approx((900, 0, 0), abs=1.0)


def test_visits_without_a_common_part_are_told(tmp_path, monkeypatch):
    for name, start in (("a", 0), ("b", 1000)):
        affine = np.eye(4)
        affine[0, 3] = start
        nib.save(nib.Nifti1Image(np.ones((8, 8, 8)), affine), tmp_path / f"{name}.nii.gz")
    case = Case("a", "a", tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
    unmoved = Middle(np.eye(4), np.eye(4))
    monkeypatch.setattr(raw_visits, "find_middle", lambda *_: unmoved)
    monkeypatch.setattr(raw_visits, "find_brain", lambda scan: np.ones(scan.shape, bool))
    with pytest.raises(InputError, match="no part of the brain in common"):
        prepare(case, Options(bias=False))


def test_stripped_visits_on_one_grid_are_left_as_they_are(prepared, run, tmp_path):
    folder = prepared / "patient 1"
    scans = [folder / f"flair_time0{visit}_on_middle_space.nii.gz" for visit in (1, 2)]
    words = ["--no-bias", "--no-register", "--no-strip"]
    run("datagen", "preprocess", *scans, "--out", tmp_path / "again", *words)
    (case,) = read_cohort(tmp_path / "again")
    for path, scan in ((case.time1, scans[0]), (case.time2, scans[1])):
        (values, image), (wanted, whole) = _load(path), _load(scan)
        start = np.round(np.linalg.inv(whole.affine) @ image.affine[:, 3])[:3].astype(int)
        inside = values > 0
        box = tuple(slice(a, a + n) for a, n in zip(start, values.shape, strict=True))
        assert (start >= 0).all()
        np.testing.assert_allclose(values[inside], wanted[box][inside], atol=0.1)


def test_the_middle_grid_lies_halfway(rng):
    turned = np.eye(4)
    turned[:3, :3] = [[np.cos(0.2), -np.sin(0.2), 0], [np.sin(0.2), np.cos(0.2), 0], [0, 0, 1]]
    brain = np.ones((9, 9, 9), bool)
    visits = [nib.Nifti1Image(np.ones((9, 9, 9)), matrix) for matrix in (turned, np.eye(4))]
    axes = middle_grid(*visits, brain).affine[:3, :3]
    half = [[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]]
    np.testing.assert_allclose(axes, half, atol=1e-9)
    moved = np.eye(4)
    moved[:3, 3] = 0.5
    visits[0] = nib.Nifti1Image(np.ones((9, 9, 9)), moved)
    np.testing.assert_allclose(middle_grid(*visits, brain).affine[:3, 3] % 1, 0.25)
    assert middle_grid(*visits, brain, 2.0).spacing_mm == (2, 2, 2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a.nii.gz"], "name a folder, a cohort.csv, or the two NIfTI files"),
        (["a.nii.gz", "b.nii.gz"], "a.nii.gz does not exist"),
        (["a", "b"], "name a folder, a cohort.csv, or the two NIfTI files"),
    ],
)
def test_what_is_no_pair_of_visits_is_told(words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told in _refused(*words)
    assert not (tmp_path / "cohort" / "cohort.csv").exists()


def test_visits_of_two_grids_need_to_be_registered(tmp_path):
    for name, edge in (("a", 8), ("b", 9)):
        nib.save(nib.Nifti1Image(np.ones((edge,) * 3), np.eye(4)), tmp_path / f"{name}.nii.gz")
    words = [tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", "--out", tmp_path / "out"]
    failed = _refused(*words, "--no-register")
    assert "lie on different grids, (8, 8, 8) and (9, 9, 9); leave --no-register out" in failed


def test_a_sheared_scan_and_an_empty_one_are_told(tmp_path):
    sheared = np.eye(4)
    sheared[0, 1] = 0.3
    nib.save(nib.Nifti1Image(np.ones((8, 8, 8)), sheared), tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8)), np.eye(4)), tmp_path / "b.nii.gz")
    first, second = tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"
    failed = _refused(first, first, "--out", tmp_path / "out")
    assert "a.nii.gz: correct bias failed (its axes are not at right angles" in failed
    failed = _refused(first, second, "--out", tmp_path / "out")
    assert "b.nii.gz holds nothing above 0" in failed
    scored = np.random.default_rng(0).standard_normal((8, 8, 8))
    nib.save(nib.Nifti1Image(scored, np.eye(4)), second)
    failed = _refused(second, second, "--out", tmp_path / "out")
    assert "b.nii.gz has values below 0" in failed
    assert "give the scan as it came" in failed
    assert not (tmp_path / "out").exists()


def test_without_simpleitk_the_extra_is_named(monkeypatch, tmp_path):
    for name in ("preprocess", "raw_visits", "registration", "stripping", "overview"):
        monkeypatch.delitem(sys.modules, f"datagen.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    failed = _refused(tmp_path)
    assert "pip install 'lesionwise[preprocess]'" in failed
