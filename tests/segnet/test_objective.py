"""Losses by name: what is added to what, with which weight, in which epoch."""

from typing import get_args

import pytest
import torch
from torch import nn

from segnet import losses
from segnet.choices import Added, Blended, Loss, Region
from segnet.data import PatchSample
from segnet.distances import distance_maps
from segnet.losses.blob import number_lesions
from segnet.objective import LossInputs, LossPlan, as_inputs, total_loss
from segnet.training import Optimisation, SegmentationTask

EDGE = 16
SPACING_MM = (1.0, 1.0, 1.0)


def patch(classes: int) -> torch.Tensor:
    """Labels of one patch: a cube of each foreground class, and a single voxel."""
    labels = torch.zeros(1, 1, EDGE, EDGE, EDGE)
    for label in range(1, classes):
        labels[..., 2 : 2 + 4 * label, 2:7, 7 * label - 5 : 7 * label] = label
    labels[..., 14, 14, 3] = 1
    return labels


def maps_for(plan: LossPlan, labels: torch.Tensor, classes: int) -> torch.Tensor:
    volume = labels[0, 0].byte().numpy()
    kinds = plan.map_kinds()
    maps = [torch.from_numpy(distance_maps(volume, classes, SPACING_MM, kind)) for kind in kinds]
    return torch.cat(maps)[None] if maps else torch.zeros(1, 1)


def batch(plan: LossPlan, classes: int = 2) -> LossInputs:
    labels = patch(classes)
    generator = torch.Generator().manual_seed(0)
    channels = 1 if classes == 2 else classes
    logits = torch.randn(1, channels, EDGE, EDGE, EDGE, generator=generator)
    return as_inputs(logits, labels, maps_for(plan, labels, classes))


def total(plan: LossPlan, epoch: int = 0, epochs: int = 10) -> float:
    return total_loss(plan, batch(plan), epoch, epochs).total.item()


def test_every_loss_stands_alone_or_beside_a_region_loss():
    names = set(get_args(Loss))
    assert names == {*get_args(Region), *get_args(Added), *get_args(Blended)}
    for name in get_args(Region):
        assert LossPlan(loss=name, region="bce").region_name() == name
    for name in (*get_args(Added), *get_args(Blended)):
        assert LossPlan(loss=name, region="bce").region_name() == "bce"


@pytest.mark.parametrize("name", get_args(Loss))
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("with_background", [False, True])
def test_every_loss_pulls_on_the_logits_of_each_number_of_classes(name, classes, with_background):
    if name in ("blob", "lesion_f1") and classes > 2:
        pytest.skip("looks at one class alone")
    weights = (0.1, 0.5, 0.4)[:classes]
    plan = LossPlan(loss=name, with_background=with_background, class_weights=weights)
    labels = patch(classes)
    logits = batch(plan, classes).logits.requires_grad_()
    terms = total_loss(plan, as_inputs(logits, labels, maps_for(plan, labels, classes)), 3, 10)
    terms.total.backward()
    assert torch.isfinite(terms.total)
    assert logits.grad.abs().sum() > 0


def test_a_geometric_loss_is_added_with_its_weight():
    inputs = batch(LossPlan())
    dice = losses.dice_loss(inputs.probability, inputs.truth).item()
    fog = losses.fog_loss(inputs.probability, inputs.truth).item()
    assert total(LossPlan(loss="fog")) == pytest.approx(dice + fog)
    assert total(LossPlan(loss="fog", weight=0.25)) == pytest.approx(dice + 0.25 * fog)
    bce = losses.bce_loss(inputs.logits, inputs.truth).item()
    assert total(LossPlan(loss="fog", region="bce")) == pytest.approx(bce + fog)


def test_an_added_loss_is_silent_for_its_warm_up():
    plan = LossPlan(loss="lesion_f1", weight=3.0, warmup_epochs=4)
    assert total_loss(plan, batch(plan), 3, 10).other is None
    after = total_loss(plan, batch(plan), 4, 10)
    assert after.total.item() == pytest.approx((after.region + 3 * after.other).item())


def test_an_added_loss_is_silent_again_in_the_last_epochs():
    plan = LossPlan(loss="lesion_f1", warmup_epochs=4, finish_epochs=3)
    is_there = [total_loss(plan, batch(plan), epoch, 10).other is not None for epoch in range(10)]
    assert is_there == [False] * 4 + [True] * 3 + [False] * 3


def test_distance_losses_blend_with_the_region_loss_by_the_schedule():
    plan = LossPlan(loss="surface", region="dice_ce", floor=0.0)
    terms = total_loss(plan, batch(plan), 4, 10)
    assert terms.region_weight == pytest.approx(0.6)
    wanted = 0.6 * terms.region + 0.4 * terms.other
    assert terms.total.item() == pytest.approx(wanted.item())
    last = total_loss(plan._replace(floor=0.3), batch(plan), 9, 10)
    assert last.region_weight == pytest.approx(0.3)
    constant = plan._replace(schedule="constant", constant=0.8)
    assert total_loss(constant, batch(plan), 9, 10).region_weight == pytest.approx(0.8)


def test_planes_signs_and_operators_reach_their_losses():
    inputs = batch(LossPlan())
    p, t = inputs.probability, inputs.truth
    dice = losses.dice_loss(p, t)
    for plan, wanted in (
        (LossPlan(loss="fog_sagittal"), losses.fog_loss(p, t, "sagittal")),
        (LossPlan(loss="fog_coronal"), losses.fog_loss(p, t, "coronal")),
        (LossPlan(loss="fog_axial", difference="sobel"), losses.fog_loss(p, t, "axial", "sobel")),
        (LossPlan(loss="sog", sign="printed"), losses.sog_loss(p, t, False, "printed")),
        (LossPlan(loss="sog_two_sided"), losses.sog_loss(p, t, True)),
        (LossPlan(loss="blob"), losses.blob_loss(inputs.logits, number_lesions(t))),
    ):
        assert total(plan) == pytest.approx((dice + wanted).item())


def test_the_background_is_a_class_where_it_is_asked_for():
    plan = LossPlan(loss="boundary", with_background=True, schedule="constant", constant=0.0)
    inputs = batch(plan)
    assert inputs.maps.shape[1] == 2
    both = torch.cat([1 - inputs.probability, inputs.probability], 1)
    wanted = losses.boundary_loss(both, inputs.maps)
    assert total(plan._replace(floor=0.0)) == pytest.approx(wanted.item())


def test_a_penalty_beside_a_distance_loss_has_a_channel_of_its_own():
    plan = LossPlan(loss="boundary", region="distance_ce", schedule="constant", constant=1.0)
    inputs = batch(plan)
    assert plan.map_kinds() == ("foreground", "normalised_penalty")
    raw = plan._replace(normalises_penalty=False)
    assert raw.map_kinds() == ("foreground", "penalty")
    wanted = losses.distance_penalised_ce_loss(inputs.logits, inputs.truth, inputs.maps[:, 1:])
    assert total(plan) == pytest.approx(wanted.item())


def test_weights_of_the_training_set_reach_the_generalised_losses():
    weights = (0.2, 0.8)
    plan = LossPlan(loss="generalised_dice", with_background=True, class_weights=weights)
    inputs = batch(plan)
    both = [torch.cat([1 - x, x], 1) for x in (inputs.probability, inputs.truth)]
    wanted = losses.generalised_dice_loss(*both, torch.tensor(weights), "printed")
    assert total(plan) == pytest.approx(wanted.item())
    assert total(plan._replace(class_weights=None)) != pytest.approx(wanted.item())


@pytest.mark.parametrize("name", get_args(Loss))
def test_one_patch_can_be_learnt_by_heart(name):
    """By Dice > 0.9, for a loss alone or beside the Dice loss, in eighty steps."""
    torch.manual_seed(0)
    plan = LossPlan(loss=name, schedule="constant", class_weights=(0.1, 0.9))
    truth = patch(2)
    visits = torch.randn(1, 2, EDGE, EDGE, EDGE) * 0.1
    visits[:, 1:] += 3 * truth
    sample = PatchSample(visits, truth, maps=maps_for(plan, truth, 2))
    network = nn.Sequential(nn.Conv3d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 1, 3, padding=1))
    task = SegmentationTask(network, None, plan, EDGE, Optimisation(2e-2))
    task.log = lambda *_, **__: None
    optimiser = task.configure_optimizers()["optimizer"]
    for step in range(80):
        optimiser.zero_grad()
        task.training_step(sample, step).backward()
        optimiser.step()
    with torch.no_grad():
        found = torch.sigmoid(task.network(visits)) >= 0.5
    dice = 2 * (found * truth).sum() / (found.sum() + truth.sum())
    assert dice > 0.9
