import json

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from nibabel.affines import apply_affine

from datagen.cli import main
from datagen.files import read_table

# prepared visits of 1 mm; raw visit 1 has thick slices, raw visit 2 is turned by a quarter
PREPARED = (24, 24, 24)
TURNED = np.array([[0, -1, 0, 30], [1, 0, 0, -5], [0, 0, 1, 2], [0, 0, 0, 1.0]])
MOVED = np.array([[1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, -2], [0, 0, 0, 1.0]])


def _save(path, values, affine):
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


@pytest.fixture
def case(tmp_path):
    """Folder of a case as `datagen preprocess` leaves it, and two raw visits."""
    folder = tmp_path / "ready" / "patient 1"
    folder.mkdir(parents=True)
    scans = [tmp_path / f"raw{visit}.nii.gz" for visit in (1, 2)]
    thick = np.diag([1.0, 1, 4, 1])
    thick[:3, 3] = (3, 0, -2)
    _save(scans[0], np.ones((24, 24, 6), np.float32), thick)
    affine2 = TURNED @ np.eye(4)
    _save(scans[1], np.ones(PREPARED, np.float32), affine2)
    for visit, matrix in enumerate((MOVED, TURNED), start=1):
        np.savetxt(folder / f"middle_to_time{visit}.txt", matrix)
        name = f"flair_time0{visit}_on_middle_space.nii.gz"
        _save(folder / name, np.ones(PREPARED, np.float32), np.eye(4))
    note = {"options": {}, "sources": [*map(str, scans), "", ""], "outcome": {}}
    (folder / "preprocess.json").write_text(json.dumps(note))
    return folder


def _labels(case, values=(1, 3)):
    marked = np.zeros(PREPARED, np.int16)
    marked[4:9, 10:15, 8:16] = values[0]
    marked[20, 3, 6] = values[1]  # smaller than a voxel of thick slices
    return _save(case.parent / "labels.nii.gz", marked, np.eye(4)), marked


def _refused(*words):
    """Run the command, which is to fail in one line and to write nothing; return that line."""
    result = CliRunner().invoke(main, ["restore", *map(str, words)])
    assert result.exit_code == 2, result.output
    assert len(result.output.strip().splitlines()) == 1
    return result.output


def test_labels_go_back_onto_a_turned_scan_voxel_by_voxel(case, tmp_path, run):
    path, marked = _labels(case)
    out = tmp_path / "back.nii.gz"
    told = run("datagen", "restore", path, "--case", case, "--out", out)
    assert told == f"wrote {out}, on the grid of {tmp_path / 'raw2.nii.gz'}\n"
    back = nib.load(out)
    # the raw scan's affine is the way itself, so that its voxels are those of the prepared visits
    np.testing.assert_array_equal(back.affine, TURNED)
    np.testing.assert_array_equal(back.dataobj, marked)
    assert back.get_data_dtype() == np.uint8


def test_no_lesion_is_lost_in_thick_slices(case, tmp_path, run):
    path, marked = _labels(case)
    out = tmp_path / "back.nii.gz"
    run("datagen", "restore", path, "--case", case, "--visit", 1, "--out", out)
    back = nib.load(out)
    values = np.asanyarray(back.dataobj)
    assert set(np.unique(values)) == {0, 1, 3}
    for label in (1, 3):
        places = [
            apply_affine(affine, np.argwhere(mask == label)).mean(axis=0)
            for affine, mask in ((MOVED, marked), (back.affine, values))
        ]
        assert np.abs(places[0] - places[1]).max() <= 2  # mm, half a slice


def test_the_rarer_label_is_kept_where_two_share_a_voxel(case, tmp_path, run):
    marked = np.zeros(PREPARED, np.uint8)
    marked[2:6, 2:6, 5:9], marked[20, 20, 8], marked[20, 20, 9] = 2, 2, 1
    path = _save(tmp_path / "labels.nii.gz", marked, np.eye(4))
    out = tmp_path / "back.nii.gz"
    run("datagen", "restore", path, "--case", case, "--visit", 1, "--out", out)
    assert set(np.unique(nib.load(out).dataobj)) == {0, 1, 2}


@pytest.mark.parametrize("values", [(0.25, 0.5), (-1, 2), (300, 1)])
def test_what_is_no_label_is_a_map(values, case, tmp_path, run):
    path, marked = _labels(case)
    shown = np.select([marked == 1, marked == 3], values).astype(np.float32)
    _save(path, shown, np.eye(4))
    out = tmp_path / "back.nii.gz"
    run("datagen", "restore", path, "--case", case, "--out", out)
    assert nib.load(out).get_data_dtype() == np.float32
    np.testing.assert_allclose(nib.load(out).dataobj, shown, atol=1e-5)


def test_an_empty_mask_stays_empty(case, tmp_path, run):
    path = _save(tmp_path / "none.nii.gz", np.zeros(PREPARED, np.uint8), np.eye(4))
    run("datagen", "restore", path, "--case", case, "--out", tmp_path / "back.nii.gz")
    assert not np.any(nib.load(tmp_path / "back.nii.gz").dataobj)


def test_lesions_are_listed_where_they_lie_in_the_raw_scan(case, tmp_path, run):
    _, marked = _labels(case)
    voxel = np.argwhere(marked == 3)[0]
    path, out = tmp_path / "lesions.csv", tmp_path / "back.csv"
    path.write_text(f"id,x_mm,y_mm,z_mm,confidence\n1,{voxel[0]},{voxel[1]},{voxel[2]},0.9\n")
    told = run("datagen", "restore", path, "--case", case, "--out", out)
    assert told == f"wrote {out}, with places in raw visit 2\n"
    (row,) = read_table(out)
    assert list(row) == ["id", "x_mm", "y_mm", "z_mm", "confidence"]
    assert (row["id"], row["confidence"]) == ("1", "0.9")
    place = [float(row[axis]) for axis in ("x_mm", "y_mm", "z_mm")]
    np.testing.assert_allclose(place, apply_affine(TURNED, voxel))


def test_an_empty_list_stays_empty(case, tmp_path, run):
    path, out = tmp_path / "lesions.csv", tmp_path / "back.csv"
    path.write_text("id,x_mm,y_mm,z_mm\n")
    run("datagen", "restore", path, "--case", case, "--visit", 1, "--out", out)
    assert out.read_text().split() == path.read_text().split()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "numbers are needed in x_mm, y_mm and z_mm (there is no x_mm)"),
        ("id,x_mm,y_mm\n1,2,3\n", "numbers are needed in x_mm, y_mm and z_mm (there is no z_mm)"),
        ("x_mm,y_mm,z_mm\n1,2,nan\n", "numbers are needed in x_mm, y_mm and z_mm (one is not"),
        ("x_mm,y_mm,z_mm\n1,2,left\n", "numbers are needed in x_mm, y_mm and z_mm (could not"),
        ("x_mm,y_mm,z_mm\n1,2\n", "fewer cells than the header"),
    ],
)
def test_what_is_no_list_of_lesions_is_told(text, told, case, tmp_path):
    path = tmp_path / "lesions.csv"
    path.write_text(text)
    assert told in _refused(path, "--case", case, "--out", tmp_path / "back.csv")
    assert not (tmp_path / "back.csv").exists()


def test_a_scan_is_not_taken_where_it_would_change_nothing(case, tmp_path):
    path, out = tmp_path / "lesions.csv", tmp_path / "back.csv"
    path.write_text("x_mm,y_mm,z_mm\n1,2,3\n")
    failed = _refused(path, "--case", case, "--scan", tmp_path / "raw2.nii.gz", "--out", out)
    assert "--scan is for masks and maps" in failed
    assert not out.exists()


def test_nothing_is_written_over(case, tmp_path):
    path, _ = _labels(case)
    before = path.read_bytes()
    for out in (path, tmp_path / "raw2.nii.gz"):
        assert f"--out {out} exists; choose another" in _refused(path, "--case", case, "--out", out)
    assert path.read_bytes() == before
    out = tmp_path / "back.png"
    assert "must end in .nii.gz or .nii" in _refused(path, "--case", case, "--out", out)
    assert not out.exists()
    path = tmp_path / "lesions.csv"
    path.write_text("x_mm,y_mm,z_mm\n1,2,3\n")
    assert "must end in .csv" in _refused(path, "--case", case, "--out", out)
    assert f"--out {path} exists" in _refused(path, "--case", case, "--out", path)


def test_a_raw_scan_that_was_moved_is_named_by_scan(case, tmp_path, run):
    path, marked = _labels(case)
    moved = (tmp_path / "raw2.nii.gz").rename(tmp_path / "elsewhere.nii.gz")
    words = [path, "--case", case, "--out", tmp_path / "back.nii.gz"]
    assert "is gone; say by --scan where it lies now" in _refused(*words)
    assert not (tmp_path / "back.nii.gz").exists()
    run("datagen", "restore", *words, "--scan", moved)
    np.testing.assert_array_equal(nib.load(tmp_path / "back.nii.gz").dataobj, marked)


def test_what_is_no_case_or_another_grid_is_told(case, tmp_path):
    path, _ = _labels(case)
    out = tmp_path / "back.nii.gz"
    failed = _refused(path, "--case", case.parent, "--out", out)
    assert "is no case of 'datagen preprocess': it holds no preprocess.json" in failed
    other = _save(tmp_path / "other.nii.gz", np.ones((5, 5, 5), np.uint8), np.eye(4))
    failed = _refused(other, "--case", case, "--out", out)
    assert f"{other} and " in failed
    assert "lie on different grids" in failed
    assert "name what was found in the prepared visits" in failed


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("preprocess.json", '{"options": {', "is damaged; delete "),
        ("preprocess.json", "{}", "is damaged; delete "),
        ("preprocess.json", '{"options": {}, "sources": [], "outcome": {}}', "is damaged; delete "),
        ("preprocess.json", '{"options": {}, "sources": 5, "outcome": {}}', "is damaged; delete "),
        ("middle_to_time2.txt", "", "is damaged: it holds no 4 x 4 matrix that"),
        ("middle_to_time2.txt", "1 0 0 0\n0 1 0", "is damaged: it holds no 4 x 4"),
        ("middle_to_time2.txt", "1 0 0 0\n" * 4, "is damaged: it holds no 4 x 4"),
        ("middle_to_time2.txt", "1 0 0 nan\n" * 4, "is damaged: it holds no 4 x 4"),
        ("middle_to_time2.txt", "a b c d\n" * 4, "is damaged: it holds no 4 x 4"),
        ("flair_time02_on_middle_space.nii.gz", "none", "cannot be read as NIfTI"),
    ],
)
def test_a_damaged_file_of_a_case_is_told(name, text, told, case, tmp_path):
    path, _ = _labels(case)
    (case / name).write_text(text)
    failed = _refused(path, "--case", case, "--out", tmp_path / "back.nii.gz")
    assert f"{case / name} {told}" in failed
    assert not (tmp_path / "back.nii.gz").exists()


def test_a_case_without_its_way_back_is_told(case, tmp_path):
    path, _ = _labels(case)
    (case / "middle_to_time1.txt").unlink()
    words = [path, "--case", case, "--visit", 1, "--out", tmp_path / "back.nii.gz"]
    assert "middle_to_time1.txt does not exist" in _refused(*words)
