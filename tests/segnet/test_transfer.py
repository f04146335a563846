import csv
import shutil

import numpy as np
import pytest
import torch

from datagen.errors import InputError
from datagen.lenders import write_lenders
from datagen.recordings import RecordingFile
from metricnet import runs
from segnet.config import TrainSettings
from segnet.preparation import read_splits, read_synthetic
from segnet.transfer import start_from
from segnet.unet import build_unet

SHORT = ["--alpha", "0", "--epochs", "1", "--steps-per-epoch", "2", "--batch", "2", "--patch", "32"]
SHORT += ["--channels", "8"]


def test_a_network_starts_with_the_weights_of_another_run(tiny_run, tiny_cohort):
    torch.manual_seed(9)
    network = build_unet("siamese", 8)
    start_from(network, tiny_run, TrainSettings(cohort=tiny_cohort, channels=8))
    trained = runs.best_weights(tiny_run)
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, trained[f"network.{name}"])


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"channels": 16}, "--channels 8"),
        ({"channels": 8, "network": "dynunet"}, "--network siamese"),
    ],
)
def test_a_run_of_another_network_is_refused(tiny_run, tiny_cohort, other, named):
    settings = TrainSettings(cohort=tiny_cohort, **other)
    with pytest.raises(InputError, match=named):
        start_from(build_unet(settings.network, settings.channels), tiny_run, settings)


def test_training_goes_on_from_a_pretrained_network(tiny_run, tiny_cohort, run, tmp_path):
    out = tmp_path / "run"
    options = [*SHORT, "--learning-rate", "1e-12"]
    run("segnet", "train", "--cohort", tiny_cohort, "--init-from", tiny_run, "--out", out, *options)
    first, second = runs.best_weights(tiny_run), runs.best_weights(out)
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


def test_a_training_goes_on_without_the_run_that_it_started_from(
    tiny_run, tiny_cohort, run, tmp_path
):
    start, out = tmp_path / "start", tmp_path / "run"
    shutil.copytree(tiny_run, start)
    words = ["--cohort", tiny_cohort, "--init-from", start, "--out", out, *SHORT]
    run("segnet", "train", *words)
    shutil.rmtree(start)
    run("segnet", "train", *words, "--resume")
    assert len(runs.read_history(out)) == 1


def test_the_cache_of_scans_and_its_workers_change_no_result(tiny_cohort, run, tmp_path):
    rows = []
    for name in ("memory", "cache"):
        options = [*SHORT, "--augmentation", "full"]
        if name == "cache":
            options += ["--scan-cache", tmp_path / "scans", "--loader-workers", "1"]
        run("segnet", "train", "--cohort", tiny_cohort, "--out", tmp_path / name, *options)
        with (tmp_path / name / "history.csv").open() as stream:
            rows.append(next(csv.DictReader(stream)))
    assert rows[0] == rows[1]
    assert len(list((tmp_path / "scans").glob("*.json"))) == 4


@pytest.fixture
def reversible(tiny_cohort, tmp_path):
    """The tiny cohort, in which case 0 also tells what vanished."""
    cohort = tmp_path / "reversible"
    shutil.copytree(tiny_cohort, cohort)
    shutil.copy(cohort / "case1/ground_truth.nii.gz", cohort / "case0/vanished_lesions.nii.gz")
    rows = [
        f"{n},{n}/flair_time01_on_middle_space.nii.gz,{n}/flair_time02_on_middle_space.nii.gz,"
        f"{n}/ground_truth.nii.gz,{n}/brain_mask.nii.gz,{split}\n"
        for n, split in (("case0", "train"), ("case1", "train"), ("case2", "validation"))
    ]
    header = "case,time1,time2,truth,brain_mask,split\n"
    (cohort / "cohort.csv").write_text(header + "".join(rows))
    return cohort


def test_in_both_orders_what_vanished_is_new(reversible):
    alone, _ = read_splits(TrainSettings(cohort=reversible))
    both, validation = read_splits(TrainSettings(cohort=reversible, reverse_visits=True))
    assert (len(alone), len(both), len(validation)) == (2, 3, 1)
    forward, backward = both[0].scans, both[-1].scans
    assert np.array_equal(forward.time1[:20, :20, :20], backward.time2[:20, :20, :20])
    assert backward.truth.sum() == both[1].scans.truth.sum()


# where the third case is tested, one of the other two is drawn to validate on
@pytest.mark.parametrize(("split", "left"), [("validation", 2), ("test", 1)])
def test_synthetic_cases_of_held_out_patients_are_left_out(reversible, split, left):
    listed = reversible / "cohort.csv"
    listed.write_text(listed.read_text().replace("validation", split))
    settings = TrainSettings(cohort=reversible, synthetic=reversible)
    assert len(read_synthetic(settings)) == left
    only_held_out = [line for line in listed.read_text().splitlines() if "train" not in line]
    (reversible / "held.csv").write_text("\n".join(only_held_out).replace(split, "train"))
    with pytest.raises(InputError, match="no case is there to train on"):
        read_synthetic(settings.model_copy(update={"synthetic": reversible / "held.csv"}))


def test_synthetic_cases_with_a_lesion_of_a_held_out_patient_are_left_out(reversible):
    settings = TrainSettings(cohort=reversible, synthetic=reversible)
    write_lenders(reversible, {"case0": ["case1", "case2"], "case1": ["case0"]})
    (kept,) = read_synthetic(settings)
    assert kept.case.name == "case1"


def test_what_vanished_in_a_synthetic_case_is_learnt_in_the_other_order_too(reversible):
    settings = TrainSettings(cohort=reversible, synthetic=reversible, reverse_visits=True)
    names = [case.case.name for case in read_synthetic(settings)]
    assert names == ["case0", "case1", "case0_reversed"]


def test_training_mixes_synthetic_cases_in(reversible, run, tmp_path):
    options = [*SHORT, "--synthetic", reversible, "--real-share", "0.5", "--loss", "boundary"]
    out = tmp_path / "mixed"
    run("segnet", "train", "--cohort", reversible, "--out", out, *options)
    assert runs.read_config(out, "segnet.train", TrainSettings).real_share == 0.5
    assert list((out / "distance_maps").glob("*.npy"))


def test_a_mixed_training_goes_on_to_the_same_bits(reversible, run, tmp_path):
    options = [*SHORT, "--epochs", "2", "--precision", "32", "--augmentation", "full"]
    options += ["--synthetic", reversible, "--reverse-visits", "--distractor-share", "0.2"]
    options += ["--record-predictions", "--scan-cache", tmp_path / "scans", "--seed", "3"]
    words = ["--cohort", reversible, *options, "--out"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run("segnet", "train", *words, whole)
    # no time is left after the first epoch; what follows is drawn by a process of its own
    run("segnet", "train", *words, broken, "--max-minutes", "0.00001")
    assert len(runs.read_history(broken)) == 1
    run("segnet", "train", *words, broken, "--resume", "--loader-workers", "1")
    one, other = (torch.load(out / runs.LAST)["state_dict"] for out in (whole, broken))
    assert all(torch.equal(one[name], other[name]) for name in one)
    recorded = [sorted((out / "predictions").iterdir()) for out in (whole, broken)]
    assert [path.name for path in recorded[0]] == [path.name for path in recorded[1]]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*recorded, strict=True))


def test_what_is_recorded_of_synthetic_patches_goes_by_their_own_cases(reversible, run, tmp_path):
    synthetic = tmp_path / "synthetic.csv"
    row = (reversible / "cohort.csv").read_text().splitlines()[2].replace("case1,", "made,", 1)
    synthetic.write_text(
        "case,time1,time2,truth,brain_mask,split\n" + row.replace("case1", "reversible/case1")
    )
    options = [*SHORT, "--synthetic", synthetic, "--record-predictions"]
    out = tmp_path / "mixed"
    run("segnet", "train", "--cohort", reversible, "--out", out, *options)
    (path,) = (out / "predictions").glob("step*.h5")
    file = RecordingFile(path, 32, 1.0)
    names = [file[index].case for index in range(len(file))]
    assert names.count("made") == 2
    assert set(names) <= {"case0", "case1", "made"}
