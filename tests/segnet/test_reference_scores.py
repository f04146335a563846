"""Every reference pair, scored as 'segnet evaluate' does, against other people's programs."""

import pytest

from datagen.layouts import Case
from segnet.evaluation.case import Choices, evaluate_case
from segnet.evaluation.pairs import Job

PAIRS = [
    "p01_identical_mni18",
    "p03_erode1_mni03",
    "p05_addfp_mni27",
    "p07_shift2_mni17",
    "p09_mix_mni02",
    "p11_mix_mni08",
    "p13_mix_mni26",
    "p15_mix_mni01_full",
    "p17_split_mni15",
    "p18_emptygt_mni29",
    "p19_emptypred_mni29",
    "p21_onlytiny",
    "p23_alpha",
    "p25_gamma",
    "p27_bridge_split_syn",
    "p29_identical_lon13",
    "p31_erode1_lon02",
    "p33_mix_lon10",
    "p35_mix_lon09",
]
# our score, their column, by how much they may differ: half of the last printed digit, or 1e-3 mm
LESIONS = [
    ("overlap", "ltpr", "anyoverlap26.LTPR", 0.50001e-4),
    ("overlap", "lppv", "anyoverlap26.LPPV", 0.50001e-4),
    ("overlap", "f1", "anyoverlap26.LF1", 0.50001e-4),
    ("overlap", "f1", "wmhchallenge_26.f1", 0.50001e-4),
    ("geo", "lppv", "anyoverlap26.LPPV_geo", 0.50001e-4),
    ("geo", "f1", "anyoverlap26.LF1_geo", 0.50001e-4),
    ("msseg2", "ltpr", "msseg2.default.SensL", 0.50001e-6),
    ("msseg2", "lppv", "msseg2.default.PPVL", 0.50001e-6),
    ("msseg2", "f1", "msseg2.default.F1_score", 0.50001e-6),
    ("msseg2", "predicted_lesions", "msseg2.default.NbTestedLesions", 0),
    ("msseg2", "predicted_volume_mm3", "msseg2.default.VolTestedLesions", 1e-3),
]
VOXELS = [
    ("dice", "monai.dice", 0.50001e-4),
    ("dice", "msseg2.default.Dice", 0.50001e-6),
    ("hd95_mm", "monai.hd95", 1e-3),
    ("assd_mm", "monai.asd_sym", 1e-3),
    ("hd95_volume_mm", "gen_surf_loss_author.hd95_volume", 1e-3),
]


@pytest.mark.parametrize("pair", PAIRS)
def test_every_score_is_the_printed_one(pair, reference):
    row, truth, prediction = reference(pair)
    job = Job(Case(pair, pair, truth, truth, truth=truth), "method", prediction, None)
    choices = Choices(rules=("overlap", "geo", "msseg2"), volume_hd95=True)
    result = evaluate_case(job, choices)
    of_rule = {score.rule: score for score in result.scores}
    checked = [(getattr(of_rule[rule], ours), row[c], atol) for rule, ours, c, atol in LESIONS]
    checked += [(getattr(result.voxels, ours), row[c], atol) for ours, c, atol in VOXELS]
    compared = [one for one in checked if one[1] not in ("", "nan")]
    assert len(compared) >= 8
    for ours, theirs, atol in compared:
        if theirs == "inf":
            assert ours is None  # a distance to nothing is not defined
        else:
            assert ours == pytest.approx(float(theirs), abs=atol, rel=0)
