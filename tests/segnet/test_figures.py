import numpy as np
import pytest
from matplotlib.colors import to_rgba

from segnet.figures import PREDICTION, TRUTH, CaseVolumes, draw_case, read_case


@pytest.fixture
def case():
    scan = np.zeros((20, 24, 10), np.float32)
    scan[2:-2, 2:-2, 1:-1] = np.linspace(50, 100, 20)[None, :, None]
    truth, prediction = np.zeros((2, *scan.shape), bool)
    truth[5:8, 5:8, 3] = truth[10:12, 10:12, 7] = True
    prediction[5:8, 5:8, 3] = True
    return CaseVolumes(scan, scan, truth, prediction, (1.0, 1.0, 3.0))


def outlines(axes):
    """Colours of the outlines that are drawn."""
    return {tuple(colour) for drawn in axes.collections for colour in drawn.get_edgecolor()}


def test_each_row_of_the_picture_goes_through_a_lesion(case):
    panels = draw_case(case).axes
    assert len(panels) == 6
    assert outlines(panels[2]) == {to_rgba(TRUTH), to_rgba(PREDICTION)}
    assert outlines(panels[5]) == {to_rgba(TRUTH)}  # the second lesion is missed
    assert outlines(panels[1]) == set()


def test_a_clean_case_shows_its_middle(case):
    empty = np.zeros_like(case.truth)
    assert len(draw_case(case._replace(truth=empty, prediction=empty)).axes) == 3


def test_a_dark_scan_is_drawn_too(case):
    dark = np.zeros_like(case.time1)
    assert len(draw_case(case._replace(time1=dark, time2=dark)).axes) == 6


def test_a_case_is_read_in_closest_canonical_orientation(tiny_cohort):
    folder = tiny_cohort / "case0"
    names = {"time1": "flair_time01_on_middle_space", "time2": "flair_time02_on_middle_space"}
    names |= {"truth": "ground_truth", "prediction": "ground_truth"}
    case = read_case({key: str(folder / f"{name}.nii.gz") for key, name in names.items()})
    assert case.truth.any()
    assert np.array_equal(case.truth, case.prediction)
    assert case.spacing_mm == (1.0, 1.0, 1.0)
