import csv
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboardX.proto.event_pb2 import Event

from datagen.errors import InputError
from datagen.scans import Scans
from datagen.volumes import Grid
from metricnet import LesionEstimator, LesionWiseLoss, TrustedLoss, runs
from segnet.config import TrainSettings
from segnet.data import LabelledScans, PatchSample
from segnet.inference import foreground_probability
from segnet.learned import Course, LearnedTerm
from segnet.objective import LossPlan
from segnet.training import Optimisation, SegmentationTask
from segnet.unet import build_unet


@pytest.fixture
def learned() -> LearnedTerm:
    torch.manual_seed(0)
    loss = LesionWiseLoss(LesionEstimator("structured", 16))
    return LearnedTerm(TrustedLoss(loss, "overlap", 1.0, None), Course(0.2, warmup_epochs=3))


def test_checkpoints_hold_the_network_without_the_estimator(learned):
    task = SegmentationTask(build_unet("strided", 4), learned, LossPlan(), 16, Optimisation(1e-3))
    assert all(name.startswith("network.") for name in task.state_dict())


@pytest.mark.parametrize(
    ("network", "channels"),
    [("strided", 8), ("siamese", 8), ("full_resolution", 8), ("vnet", 16), ("dynunet", 8)],
)
@pytest.mark.parametrize("classes", [2, 4])
def test_networks_keep_the_patch_and_begin_with_few_lesions(network, channels, classes):
    torch.manual_seed(0)
    unet = build_unet(network, channels, classes)
    probability = foreground_probability(unet(torch.randn(1, 2, 32, 32, 32)))
    assert probability.shape == (1, classes - 1, 32, 32, 32)
    assert probability.median() < 0.1


def test_a_v_net_of_another_width_is_refused():
    with pytest.raises(InputError, match="--channels 8: V-Net has 16"):
        build_unet("vnet", 8)


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("constant", [1.0] * 20),
        ("halving", [1.0] * 10 + [0.5] * 4 + [0.25] * 4 + [0.125] * 2),
        ("cosine", [0.5 * (1 + math.cos(math.pi * step / 20)) for step in range(20)]),
    ],
)
def test_the_rate_follows_its_schedule(schedule, wanted):
    plan = Optimisation(1.0, 1e-6, schedule, epochs=4, steps_per_epoch=5)
    task = SegmentationTask(build_unet("strided", 4), None, LossPlan(), 16, plan)
    chosen = task.configure_optimizers()
    rates = []
    for _ in range(20):
        rates.append(chosen["optimizer"].param_groups[0]["lr"])
        chosen["optimizer"].step()
        if "lr_scheduler" in chosen:
            chosen["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx(wanted)
    assert chosen["optimizer"].param_groups[0]["weight_decay"] == 1e-6


def test_history_logs_dice_estimate_exact_score_and_their_gap(tiny_run):
    with (tiny_run / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["epoch"]) for row in rows] == [1, 2, 3]
    assert [float(row["train/alpha"]) for row in rows] == pytest.approx([0, 1, 2])
    for row in rows:
        for name in ("train/dice_loss", "train/estimated_f1", "train/exact_f1", "train/gap"):
            assert 0 <= float(row[name]) <= 1
        difference = float(row["train/estimated_f1"]) - float(row["train/exact_f1"])
        assert float(row["train/gap"]) >= abs(difference) - 1e-5


def test_a_run_keeps_settings_checkpoints_and_a_tensorboard_log(tiny_run):
    assert runs.read_config(tiny_run, "segnet.train", TrainSettings).channels == 8
    assert (tiny_run / "last.ckpt").is_file()
    assert any(name.startswith("network.") for name in runs.best_weights(tiny_run))
    written = logged(tiny_run / "tensorboard")
    for name in ("step/gap", "step/trust"):
        assert [step for step, _ in written[name]] == list(range(12))  # three epochs of four steps
        assert all(0 <= value <= 1 for _, value in written[name])


def logged(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of each scalar in a folder's only TensorBoard log."""
    (path,) = folder.glob("events.*")
    content, start, scalars = path.read_bytes(), 0, {}
    while start < len(content):
        (length,) = struct.unpack_from("<Q", content, start)
        event = Event.FromString(content[start + 12 : start + 12 + length])
        for value in event.summary.value:
            scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
        start += length + 16  # the length, its checksum, and that of the event
    return scalars


def test_the_learned_term_pulls_on_the_network(learned):
    torch.manual_seed(0)
    network = build_unet("strided", 4)
    probability = torch.sigmoid(network(torch.randn(1, 2, 16, 16, 16)))
    truth = (torch.rand(1, 1, 16, 16, 16) > 0.99).float()
    learned.trusted.loss(probability, truth).backward()
    assert any(weight.grad.abs().sum() > 0 for weight in network.parameters())


def test_what_is_logged_lies_where_the_network_is(learned):
    # between GPUs nothing else can be added up
    plan = LossPlan(loss="fog")
    task = SegmentationTask(build_unet("strided", 4), learned, plan, 16, Optimisation(1e-3))
    task.to("meta")
    places = []
    task.log = lambda _, value, **__: places.append(value.device.type)
    task._log_mean("train/alpha", torch.tensor(3.0))
    assert places == ["meta"]


def test_one_batch_can_be_learnt_by_heart():
    torch.manual_seed(0)
    visits = torch.randn(1, 2, 16, 16, 16) * 0.1
    truth = torch.zeros(1, 1, 16, 16, 16)
    truth[:, :, 4:8, 4:8, 4:8] = 1
    visits[:, 1:] += 3 * truth
    task = SegmentationTask(build_unet("strided", 8), None, LossPlan(), 16, Optimisation(1e-2))
    task.log = lambda *_, **__: None
    optimiser = task.configure_optimizers()["optimizer"]
    for step in range(60):
        optimiser.zero_grad()
        loss = task.training_step(PatchSample(visits, truth), step)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1


@pytest.mark.parametrize(("precision", "is_half"), [("32", False), ("bf16", True)])
def test_whole_validation_cases_are_computed_in_the_precision_asked_for(precision, is_half):
    seen = []

    def network(windows):
        seen.append(torch.is_autocast_enabled("cpu"))
        return windows[:, 1:] - 4

    shape = (16, 16, 16)
    labels = np.zeros(shape, np.uint8)
    labels[4:8, 4:8, 4:8] = 1
    time2 = np.where(labels, 8, 0).astype(np.float32)
    brain = np.ones(shape, bool)
    scans = Scans(np.zeros_like(time2), time2, brain, labels > 0, Grid(shape, np.eye(4)))
    case = LabelledScans(None, scans, labels, labels, (slice(None),) * 3)
    task = SegmentationTask(
        build_unet("strided", 4), None, LossPlan(), 16, Optimisation(1e-3), precision=precision
    )
    task.network.forward = network
    assert task.score(case) == (1, 1)  # Dice and L-F1
    assert seen == [is_half]
