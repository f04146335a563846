"""The page of 'segnet predict --page': what was found, to be looked at without a truth."""

import json
import re

import nibabel as nib
import numpy as np
import pytest

from datagen.config import CONFIG
from datagen.errors import InputError
from datagen.files import read_table
from segnet.config import PredictSettings
from segnet.prediction import predict
from segnet.viewer import pack_case


@pytest.fixture(scope="module")
def predicted(tiny_cohort, tmp_path_factory, run):
    """Folder of predictions of the tiny cohort, and their page."""
    out = tmp_path_factory.mktemp("predicted")
    words = ["--cohort", tiny_cohort, "--out", out / "predictions", "--page", out / "look.html"]
    said = run("segnet", "predict", "--baseline", "subtraction", *words)
    assert said.strip().endswith(f"wrote {out / 'predictions'} and {out / 'look.html'}")
    return out


@pytest.fixture(scope="module")
def page(predicted):
    return (predicted / "look.html").read_text(encoding="utf-8")


def cases_of(page):
    found = re.findall(r'<script type="application/json" id="case-\d+">(.*?)</script>', page)
    return [json.loads(text) for text in found]


def test_the_page_shows_each_lesion_of_the_tables(page, predicted):
    cases = cases_of(page)
    assert [case["name"] for case in cases] == ["case0", "case1", "case2", "case3"]
    lesions = 0
    for case in cases:
        rows = read_table(predicted / "predictions" / case["name"] / "lesions.csv")
        (method,) = case["methods"]
        assert [lesion["volume_mm3"] for lesion in method["lesions"]] == [
            row["volume_mm3"] for row in rows
        ]
        assert {lesion["rule"] for lesion in method["lesions"]} <= {""}
        assert bool(method["mask"]) == bool(rows)
        assert all(visit["source"].startswith("data:image/webp") for visit in case["visits"])
        lesions += len(rows)
    assert lesions > 4


def test_nothing_of_a_truth_is_shown_where_none_is_known(page):
    assert {case["truth"] for case in cases_of(page)} == {None}
    assert '<label hidden><input type="checkbox" data-part="truth"' in page
    assert '<table id="lesions" class="unscored">' in page
    assert "Marked by subtraction above " in page
    assert "No scores yet" not in page
    assert "<nav" not in page


def test_the_page_is_no_setting_of_the_predictions(predicted):
    assert "look.html" not in (predicted / "predictions" / CONFIG).read_text()


def test_a_case_that_cannot_be_predicted_is_left_out_of_the_page(tiny_cohort, tmp_path, run):
    listed = tmp_path / "cohort.csv"
    run("datagen", "cohort", tiny_cohort, "--out", listed)
    head, first, second, *_ = listed.read_text().splitlines()
    name, _, rest = second.split(",", 2)
    broken = ",".join([name, str(listed), rest])
    listed.write_text("\n".join([head, first, broken]) + "\n")
    settings = PredictSettings(
        cohort=listed, baseline="empty", out=tmp_path / "out", page=tmp_path / "page.html"
    )
    with pytest.raises(InputError, match="case1"):
        predict(settings)
    (case,) = cases_of(settings.page.read_text(encoding="utf-8"))
    assert (case["name"], case["methods"][0]["lesions"]) == ("case0", [])


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("page.png", "the page's name must end in .html"),
        ("folder.html", "is a folder; name a file"),
        ("file/page.html", "file is not a folder; choose another --page"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_before_the_work(page, told, tmp_path):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").touch()
    scan = tmp_path / "none.nii.gz"
    with pytest.raises(InputError, match=told):
        predict(PredictSettings(time1=scan, time2=scan, page=tmp_path / page))


def test_several_classes_are_outlined_together(tmp_path):
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[1:3, 1:3, 1:3], labels[4, 4, 4] = 1, 2
    nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / "labels.nii.gz")
    source = {
        "case": "a",
        "method": "m",
        "time1": "",
        "time2": "",
        "truth": "",
        "prediction": str(tmp_path / "labels.nii.gz"),
    }
    packed = json.loads(pack_case([source], []))
    (method,) = packed["methods"]
    assert sum(sum(runs[1::2]) for runs in method["mask"].values()) == 9
