from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import default_collate

from datagen.errors import InputError
from metricnet.checkpoint import load_estimator
from metricnet.config import TrainSettings
from metricnet.data import PairDataset
from metricnet.estimator import LesionEstimator, lesion_f1
from metricnet.training import (
    EstimatorTask,
    Seen,
    Weights,
    between_relatives,
    contrast_error,
    faded,
    train,
)


def test_only_the_difference_between_relatives_counts():
    exact = torch.tensor([0.5, 0.4, 0.1, 0.9])
    estimated = exact + torch.tensor([0.2, 0.2, 0.5, -0.5])  # off by the same, and strangers
    family = torch.tensor([7, 7, 1, 2])
    assert contrast_error(estimated, exact, family).item() == pytest.approx(0, abs=1e-12)
    estimated = exact + torch.tensor([0.2, -0.1, 0.0, 0.0])
    assert contrast_error(estimated, exact, family).item() == pytest.approx(0.09 / 2)


def test_a_sample_without_a_partner_counts_nothing():
    one = torch.tensor([0.5])
    assert contrast_error(one, one + 1, torch.tensor([3])).item() == 0


def two() -> Seen:
    shown = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1, 1)
    densities = torch.tensor([[0.0, 2.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]]).view(2, 4, 1, 1, 1)
    return Seen(shown, torch.tensor([0.0, 2 / 3]), densities)


def test_a_map_between_relatives_has_its_share_of_both_and_their_mean_densities():
    torch.manual_seed(0)
    pure, mixed = 0, 0
    for _ in range(80):
        found = between_relatives(two(), torch.tensor([5, 5]))
        assert found.shown[0].item() == 0
        assert found.f1[0].item() == 0
        share = found.shown[1].item()
        expected = [share, 2 - share, share, 0]
        assert found.densities[1].flatten().tolist() == pytest.approx(expected)
        if share == 1:
            pure += 1
            assert found.f1[1].item() == pytest.approx(2 / 3)
        else:
            mixed += 1
            ltpr = share / 2
            assert found.f1[1].item() == pytest.approx(2 * ltpr / (ltpr + 1), abs=0.02)
    assert pure > 8
    assert mixed > 20


def test_strangers_are_not_mixed():
    torch.manual_seed(0)
    for _ in range(10):
        found = between_relatives(two(), torch.tensor([5, 6]))
        assert torch.equal(found.shown, two().shown)


def test_a_map_that_is_shown_in_part_has_that_share_of_its_lesions():
    torch.manual_seed(0)
    whole = Seen(torch.ones(1, 1, 1, 1, 1), torch.tensor([0.5]), torch.empty(0))
    counts = torch.tensor([2.0, 1.0, 3.0, 1.0])  # hit, missed, found, false
    whole = whole._replace(densities=counts.view(1, 4, 1, 1, 1))
    shares = []
    for _ in range(100):
        found = faded(whole)
        shares.append(found.shown.item())
        hit, missed, predicted, false = found.densities.flatten().tolist()
        assert [hit, predicted, false] == pytest.approx([share * shares[-1] for share in (2, 3, 1)])
        assert hit + missed == pytest.approx(3)
        if shares[-1] == 1:
            assert found.f1.item() == 0.5
        else:
            assert found.f1.item() == pytest.approx(lesion_f1(found.densities).item())
    assert 50 < shares.count(1) < 90
    assert min(shares) < 0.1


def test_a_further_round_begins_with_the_estimator_that_it_is_given(
    tiny_estimator, tiny_pairs, tmp_path, run
):
    options = [
        "--epochs",
        "1",
        "--steps-per-epoch",
        "1",
        "--batch",
        "2",
        "--learning-rate",
        "1e-12",
    ]
    inputs = ["--pairs", tiny_pairs, "--init-from", tiny_estimator, "--out", tmp_path / "again"]
    run("metricnet", "train", *inputs, *options)
    first, again = (
        load_estimator(folder).estimator.parameters()
        for folder in (tiny_estimator, tmp_path / "again")
    )
    pairs = zip(first, again, strict=True)
    assert all(torch.allclose(before, after, atol=1e-9) for before, after in pairs)


def test_an_estimator_of_another_form_is_refused_as_a_beginning(
    tiny_estimator, tiny_pairs, tmp_path
):
    settings = TrainSettings(
        pairs=tiny_pairs, form="published", init_from=tiny_estimator, out=tmp_path / "run"
    )
    with pytest.raises(InputError, match=r"of the form structured, .* --form structured"):
        train(settings)
    assert not settings.out.exists()


def test_an_odd_batch_would_part_relatives_and_is_refused(tiny_pairs, tmp_path):
    with pytest.raises(InputError, match="--batch 3 gives each process 3 pairs"):
        train(TrainSettings(pairs=tiny_pairs, batch=3, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_structured_form_refuses_scores_that_it_cannot_count(tiny_cohort, tmp_path, run):
    pairs = tmp_path / "pairs.h5"
    options = ["--pairs", "20", "--patch", "16", "--rule", "geo", "--workers", "1"]
    run("datagen", "build", "--masks", tiny_cohort, "--out", pairs, *options)
    with pytest.raises(InputError, match="rule 'geo', which the structured form cannot count"):
        train(TrainSettings(pairs=pairs, out=tmp_path / "run"))


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 20])
def test_the_learning_rate_falls_to_its_end_in_any_number_of_steps(steps):
    task = EstimatorTask(LesionEstimator("structured", 16), 1e-3, Weights(0, 0), steps)
    plan = task.configure_optimizers()
    optimiser, rates = plan["optimizer"], []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        plan["lr_scheduler"]["scheduler"].step()
    assert all(0 < rate <= 1e-3 for rate in rates)


def test_a_training_stops_where_the_loss_of_another_process_is_not_finite(tiny_pairs):
    data = PairDataset(tiny_pairs, "train", seed=0)
    batch = default_collate([data[0], data[1]])
    task = EstimatorTask(LesionEstimator(), 1e-3, Weights(0.02, 1.0), 10)
    task.log = lambda *_, **__: None
    task._trainer = SimpleNamespace(world_size=2, global_step=4)
    task.all_gather = lambda loss: torch.stack([loss, loss])
    assert task.training_step(batch, 0).isfinite()
    task.all_gather = lambda loss: torch.stack([loss, torch.tensor(float("nan"))])
    with pytest.raises(InputError, match="the loss is nan at step 4; lower --learning-rate"):
        task.training_step(batch, 0)
