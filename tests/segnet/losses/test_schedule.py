"""Every epoch of the schedules, worked out from the formulas by other means."""

from fractions import Fraction

import numpy as np
import pytest

from segnet.losses import region_weight

EPOCHS = (10, 200)


def weights(schedule: str, epochs: int, form: str, step_epochs: int = 5) -> list[float]:
    return [
        region_weight(schedule, epoch, epochs, form=form, step_epochs=step_epochs)
        for epoch in range(epochs)
    ]


@pytest.mark.parametrize("epochs", EPOCHS)
def test_linear_schedule_is_eq_14(epochs):
    wanted = [float(1 - Fraction(t, epochs)) for t in range(epochs)]
    assert weights("linear", epochs, "printed") == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("epochs", EPOCHS)
def test_coded_linear_schedule_pauses_for_five_epochs_and_ends_at_zero(epochs):
    wanted = np.concatenate([np.ones(5), np.linspace(1, 0, epochs - 5)])
    found = weights("linear", epochs, "code")
    assert found == pytest.approx(wanted.tolist(), abs=1e-12)
    assert found[-1] == 0.0


@pytest.mark.parametrize("epochs", EPOCHS)
@pytest.mark.parametrize("step_epochs", [2, 3, 5])
def test_step_schedule_is_eq_15(epochs, step_epochs):
    steps = epochs // step_epochs
    blocks = np.repeat(1 - np.arange(steps + 1) / steps, step_epochs)[:epochs]
    found = weights("step", epochs, "printed", step_epochs)
    assert found == pytest.approx(blocks.tolist(), abs=1e-12)


@pytest.mark.parametrize("epochs", EPOCHS)
@pytest.mark.parametrize("step_epochs", [2, 3, 5])
def test_coded_step_schedule_is_zero_in_its_last_block(epochs, step_epochs):
    steps = (epochs - step_epochs) // step_epochs
    wanted = [max(0, 1 - (t // step_epochs) / steps) for t in range(epochs - step_epochs)]
    found = weights("step", epochs, "code", step_epochs)
    assert found == pytest.approx(wanted + [0] * step_epochs, abs=1e-12)


@pytest.mark.parametrize("epochs", EPOCHS)
@pytest.mark.parametrize(("form", "length"), [("printed", 0), ("code", 1)])
def test_cosine_schedule_is_eq_16_and_coded_ends_at_zero(epochs, form, length):
    wanted = 0.5 * (1 + np.cos(np.pi * np.arange(epochs) / (epochs - length)))
    found = weights("cosine", epochs, form)
    assert found == pytest.approx(wanted.tolist(), abs=1e-12)
    assert (found[-1] < 1e-12) == (form == "code")


def test_constant_schedule_stays():
    assert {region_weight("constant", t, 10, constant=0.3) for t in range(10)} == {0.3}


@pytest.mark.parametrize("schedule", ["linear", "step", "cosine"])
@pytest.mark.parametrize("form", ["printed", "code"])
@pytest.mark.parametrize("epochs", [1, 2, 5, 6, 7, 9])
def test_short_trainings_have_weights_between_the_floor_and_one(schedule, form, epochs):
    for epoch in range(epochs):
        weight = region_weight(schedule, epoch, epochs, form=form, floor=0.1)
        assert 0.1 <= weight <= 1


def test_the_floor_keeps_the_region_term_alive():
    assert region_weight("linear", 199, 200, form="code", floor=0.25) == 0.25
    assert region_weight("linear", 0, 200, floor=0.25) == 1.0


def test_an_epoch_beyond_the_training_is_refused():
    with pytest.raises(ValueError, match="epoch 10 is not one of 10 epochs"):
        region_weight("linear", 10, 10)
