"""Networks as files: what they predict, and what is refused."""

import json
from importlib import resources

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from datagen.cohort import read_cohort, write_cohort
from datagen.errors import InputError
from datagen.scans import read_scans
from segnet.config import PredictSettings
from segnet.detector import (
    Architecture,
    Detector,
    load_detector,
    load_pretrained,
    save_detector,
)
from segnet.export import export
from segnet.operating_point import OperatingPoint
from segnet.predictors import average
from segnet.unet import build_unet

ARCHITECTURE = Architecture("strided", 8, 2, 32, 1.0)
POINT = OperatingPoint(0.4, 6.0, 0.5, 9)


@pytest.fixture
def detector():
    torch.manual_seed(3)
    return Detector("test", build_unet("strided", 8).eval(), ARCHITECTURE, POINT)


def metadata_of(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["lesionwise"]), {
            name: file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118
        }


def test_a_saved_detector_predicts_the_same_and_keeps_its_point(detector, tmp_path):
    path = tmp_path / "detector.safetensors"
    save_detector(path, detector, torch.float32)
    loaded = load_detector(path)
    visits = torch.rand(1, 2, 32, 32, 32)
    assert torch.equal(loaded.network(visits), detector.network(visits))
    assert loaded.architecture == ARCHITECTURE
    assert loaded.point == POINT


def test_half_precision_halves_the_file_and_hardly_moves_the_map(detector, tmp_path):
    sizes, logits = {}, {}
    visits = torch.rand(1, 2, 32, 32, 32)
    for dtype in (torch.float32, torch.float16):
        path = tmp_path / f"{dtype}.safetensors"
        save_detector(path, detector, dtype)
        sizes[dtype] = path.stat().st_size
        logits[dtype] = load_detector(path).network(visits)
    assert sizes[torch.float16] < 0.6 * sizes[torch.float32]
    assert torch.allclose(*logits.values(), atol=0.02)


def test_a_detector_that_matches_visits_does_so_from_its_file(detector, tiny_cohort, tmp_path):
    case = read_cohort(tiny_cohort)[0]
    scans = read_scans(case, 1.0)
    darker = np.where(scans.brain, scans.time1 - 0.5, scans.time1).astype(np.float32)
    elsewhere = scans._replace(time1=darker)
    found = {}
    for matches in (False, True):
        before, path = tmp_path / f"{matches}.safetensors", tmp_path / f"{matches}_2.safetensors"
        save_detector(before, detector._replace(matches_visits=not matches))
        export(before, path, matches_visits=matches)
        loaded = load_detector(path)
        assert loaded.matches_visits == matches
        maps = average([loaded], PredictSettings(cohort=tiny_cohort, precision="32")).probabilities
        found[matches] = [maps(visits)[0] for visits in (scans, elsewhere)]
    assert np.allclose(*found[True], atol=1e-4)
    assert not np.allclose(*found[False], atol=1e-3)


def test_a_detector_without_a_point_has_none(detector, tmp_path):
    path = tmp_path / "detector.safetensors"
    save_detector(path, detector._replace(point=None))
    assert load_detector(path).point is None


def test_an_exported_run_predicts_what_the_run_does(tiny_run, tiny_cohort, run, tmp_path):
    path = tmp_path / "detector.safetensors"
    assert "MB" in run("segnet", "export", tiny_run, "--out", path)
    of_run, of_file = load_detector(tiny_run), load_detector(path)
    assert of_file.architecture == of_run.architecture
    assert of_file.point == of_run.point
    options = ["--cohort", tiny_cohort, "--split", "all"]
    said = run("segnet", "predict", "--model", path, *options, "--out", tmp_path / "found")
    assert "chosen on 1 validation case)" in said


def test_the_point_can_be_chosen_anew_on_other_cases(detector, tiny_cohort, run, tmp_path):
    path, chosen = tmp_path / "before.safetensors", tmp_path / "chosen.safetensors"
    save_detector(path, detector)
    said = run("segnet", "export", path, "--choose-on", tiny_cohort, "--out", chosen)
    before, after = load_detector(path), load_detector(chosen)
    assert "over 3 cases with new lesions" in said  # of four, one is clean
    assert (before.point.cases, after.point.cases) == (9, 3)
    visits = torch.rand(1, 2, 32, 32, 32)
    assert torch.equal(before.network(visits), after.network(visits))


def test_without_a_model_the_detector_of_the_package_is_written(run, tmp_path):
    out = tmp_path / "mine.safetensors"
    run("segnet", "export", "--out", out)
    mine, packaged = load_detector(out), load_pretrained()
    assert mine._replace(name="", network=None) == packaged._replace(name="", network=None)


def test_cases_that_a_run_was_trained_on_are_named_where_they_choose_its_point(
    tiny_run, tiny_cohort, run, tmp_path
):
    out = tmp_path / "chosen.safetensors"
    said = run("segnet", "export", tiny_run, "--choose-on", tiny_cohort, "--out", out)
    assert f"{tiny_run} was trained on or chosen by" in said


def test_a_cohort_without_a_new_lesion_chooses_no_point(detector, tiny_cohort, tmp_path):
    path, out = tmp_path / "before.safetensors", tmp_path / "chosen.safetensors"
    save_detector(path, detector)
    clean = [case for case in read_cohort(tiny_cohort) if case.name == "case3"]
    write_cohort(clean, tmp_path / "clean.csv")
    with pytest.raises(InputError, match="has a truth with new lesions: there is nothing to choo"):
        export(path, out, [tmp_path / "clean.csv"])
    assert not out.exists()


def test_a_file_of_another_schema_or_network_is_refused(detector, tmp_path):
    path = tmp_path / "detector.safetensors"
    save_detector(path, detector)
    metadata, weights = metadata_of(path)
    for change, named in (
        ({"schema": 99}, "a detector of schema 1 expected, found 99; write it again with"),
        ({"architecture": {**ARCHITECTURE._asdict(), "channels": 16}}, "does not fit"),
        ({"architecture": {**ARCHITECTURE._asdict(), "network": "unknown"}}, "does not fit"),
        ({"architecture": {**ARCHITECTURE._asdict(), "patch": 7}}, "does not fit"),
        ({"operating_point": {"threshold": 2}}, "does not fit"),
    ):
        save_file(weights, path, {"lesionwise": json.dumps(metadata | change)})
        with pytest.raises(InputError, match=named):
            load_detector(path)


def test_what_is_no_detector_is_refused_unread(tmp_path):
    path = tmp_path / "detector.safetensors"
    path.write_bytes(b"not a model")
    with pytest.raises(InputError, match="is not a detector"):
        load_detector(path)
    with pytest.raises(InputError, match="does not exist"):
        load_detector(tmp_path / "absent.safetensors")


def test_the_package_brings_a_small_detector_that_knows_where_its_lesions_begin():
    path = resources.files("segnet") / "pretrained" / "detector.safetensors"
    assert len(path.read_bytes()) < 8e6
    detector = load_pretrained()
    assert detector.point is not None
    assert detector.architecture.classes == 2


def test_without_a_model_the_detector_of_the_package_predicts(tiny_cohort, tmp_path, run):
    case = next(path.parent for path in sorted(tiny_cohort.glob("*/*time01*")))
    scans = [next(case.glob(f"flair*{visit}*")) for visit in ("time01", "time02")]
    out = tmp_path / "mask.nii.gz"
    visits = ["--time1", scans[0], "--time2", scans[1], "--brain-mask", case / "brain_mask.nii.gz"]
    said = run("segnet", "predict", *visits, "--out", out)
    assert "the network of the detector that comes with lesionwise found" in said
    assert f"wrote {out}, {tmp_path / 'mask_probability.nii.gz'} and " in said
    point = load_pretrained().point
    description = bytes(nib.load(out).header["descrip"]).rstrip(b"\0").decode()
    told = f"threshold {point.threshold:g}, lesions above {point.min_volume_mm3:g} mm3"
    assert description.endswith(f": {told}")


def test_an_estimator_is_no_detector():
    path = resources.files("metricnet") / "pretrained" / "overlap.safetensors"
    with pytest.raises(InputError, match="is not a detector; 'segnet export' writes one"):
        load_detector(path)


def test_a_weight_too_large_for_half_precision_is_refused(detector, tmp_path):
    with torch.no_grad():
        next(detector.network.parameters()).fill_(1e6)
    with pytest.raises(InputError, match="not finite"):
        save_detector(tmp_path / "detector.safetensors", detector)
    assert not any(tmp_path.iterdir())


def test_export_refuses_another_ending_and_leaves_nothing(tiny_run, tmp_path):
    from click.testing import CliRunner

    from segnet.cli import main

    out = tmp_path / "detector.pt"
    result = CliRunner().invoke(main, ["export", str(tiny_run), "--out", str(out)])
    assert result.exit_code == 2
    assert "must end in .safetensors" in result.output
    assert not any(tmp_path.iterdir())


def test_export_overwrites_nothing(tiny_run, tmp_path):
    from click.testing import CliRunner

    from segnet.cli import main

    out = tmp_path / "detector.safetensors"
    out.write_bytes(b"another network")
    result = CliRunner().invoke(main, ["export", str(tiny_run), "--out", str(out)])
    assert result.exit_code == 2
    assert "is there already; delete it, or choose another --out" in result.output
    assert out.read_bytes() == b"another network"


def test_whole_numbers_of_a_network_stay_whole_in_half_precision(tmp_path):
    network = build_unet("vnet", 16).eval()
    counters = [
        buffer for name, buffer in network.named_buffers() if name.endswith("num_batches_tracked")
    ]
    for counter in counters:
        counter.fill_(70_001)
    architecture = ARCHITECTURE._replace(network="vnet", channels=16)
    save_detector(tmp_path / "v.safetensors", Detector("v", network, architecture, None))
    loaded = load_detector(tmp_path / "v.safetensors").network
    tracked = [b for name, b in loaded.named_buffers() if name.endswith("num_batches_tracked")]
    assert counters
    assert {int(counter) for counter in tracked} == {70_001}
