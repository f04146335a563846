import nibabel as nib
import numpy as np
import pytest
import torch

from datagen.cohort import read_cohort
from datagen.errors import InputError
from datagen.files import read_table
from datagen.scans import Scans
from datagen.volumes import Grid
from segnet.config import PredictSettings
from segnet.detector import Architecture, Detector
from segnet.ensemble import require_alike, side_by_side
from segnet.inference import list_lesions, predict_probabilities
from segnet.predictors import average
from segnet.unet import build_unet

SHAPE = (16, 16, 16)


@pytest.fixture
def scans(rng) -> Scans:
    brain = np.ones(SHAPE, bool)
    visits = rng.normal(size=(2, *SHAPE)).astype(np.float32)
    return Scans(visits[0], visits[1], brain, ~brain, Grid(SHAPE, np.eye(4)))


def slanted(visits: torch.Tensor) -> torch.Tensor:
    """A network whose answer depends on where a voxel lies: its mirror images disagree."""
    place = torch.arange(visits.shape[-1]) / visits.shape[-1]
    return visits[:, 1:] - visits[:, :1] + place


def test_flips_are_the_mean_over_eight_mirror_images(scans):
    found = predict_probabilities(slanted, scans, 16, 0.0, flips=True)[0]
    wanted = np.zeros(SHAPE)
    for signs in np.ndindex(2, 2, 2):
        turn = tuple(slice(None, None, 1 - 2 * sign) for sign in signs)
        mirrored = scans._replace(
            time1=np.ascontiguousarray(scans.time1[turn]),
            time2=np.ascontiguousarray(scans.time2[turn]),
        )
        wanted += predict_probabilities(slanted, mirrored, 16, 0.0)[0][turn] / 8
    assert np.abs(found - wanted).max() < 1e-5
    assert np.abs(found - predict_probabilities(slanted, scans, 16, 0.0)[0]).max() > 0.01


def test_with_flips_a_mirrored_case_gets_the_mirrored_map(scans):
    turned = scans._replace(
        time1=np.ascontiguousarray(scans.time1[..., ::-1]),
        time2=np.ascontiguousarray(scans.time2[..., ::-1]),
    )
    first, second = (
        predict_probabilities(slanted, one, 16, 0.0, flips=True) for one in (scans, turned)
    )
    assert np.abs(first - second[..., ::-1]).max() < 1e-5


def test_an_ensemble_keeps_the_map_of_each_model(scans):
    models = [
        lambda s, value=value: np.full((1, *s.grid.shape), value, np.float32)
        for value in (0.2, 0.6)
    ]
    maps = side_by_side(models)(scans)
    assert maps.shape == (2, 1, *SHAPE)
    assert maps.mean() == pytest.approx(0.4)


def test_confidence_is_the_mean_of_the_peaks_and_agreement_the_share_that_finds_it():
    of_models = np.zeros((3, *SHAPE), np.float32)
    of_models[:, 2:4, 2, 2] = [[0.9], [0.8], [0.4]]
    of_models[:, 9, 9, 9] = (0.9, 0.9, 0.9)
    probability = of_models.mean(axis=0)
    grid = Grid(SHAPE, np.eye(4))
    sure, unsure = list_lesions(probability >= 0.5, probability, grid, of_models)
    assert (sure.id, sure.volume_mm3, sure.agreement) == (1, 1.0, 1.0)
    assert unsure.confidence == pytest.approx(0.7)
    assert unsure.agreement == pytest.approx(2 / 3)


def test_a_single_model_is_as_sure_as_its_peak_and_agrees_with_itself():
    probability = np.zeros(SHAPE, np.float32)
    probability[3, 3, 3:5] = 0.6, 0.8
    (lesion,) = list_lesions(probability >= 0.5, probability, Grid(SHAPE, np.eye(4)))
    assert lesion.confidence == lesion.peak_probability == pytest.approx(0.8)
    assert lesion.agreement == 1.0


@pytest.mark.parametrize("other", [(2.0, 2), (1.0, 3)])
def test_models_that_differ_are_refused(other):
    with pytest.raises(InputError, match="average models that are alike"):
        require_alike(["a", "b"], [(1.0, 2), other])


def test_two_models_are_averaged_by_the_command(tiny_cohort, tiny_run, run, tmp_path):
    case = read_cohort(tiny_cohort)[0]
    visits = ["--time1", case.time1, "--time2", case.time2, "--brain-mask", case.brain_mask]
    visits += ["--threshold", "0.02"]
    maps = []
    for number, models in enumerate(([tiny_run], [tiny_run, tiny_run])):
        out = tmp_path / f"{number}/mask.nii.gz"
        words = [word for model in models for word in ("--model", model)]
        said = run("segnet", "predict", *words, *visits, "--out", out)
        maps.append(np.asarray(nib.load(out.parent / "mask_probability.nii.gz").dataobj))
    assert f"the networks of {tiny_run} and {tiny_run}" in said
    assert np.allclose(*maps, atol=1e-6)
    rows = read_table(tmp_path / "1/mask_lesions.csv")
    assert rows
    assert all(0.02 <= float(row["confidence"]) <= 1 for row in rows)
    assert all(float(row["agreement"]) == 1 for row in rows)


@pytest.mark.parametrize(("has_gpu", "place"), [(True, "cuda"), (False, "cpu")])
def test_networks_run_on_the_gpu_where_there_is_one(has_gpu, place, monkeypatch):
    network, places = build_unet("strided", 4), []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(network, "to", lambda device: places.append(device.type))
    average(
        [Detector("a", network, Architecture("strided", 4, 2, 16, 1.0), None)], PredictSettings()
    )
    assert places == [place]
