import copy

import pytest
import torch

from metricnet import LesionEstimator, LesionWiseLoss, TrustedLoss
from metricnet.estimator import SLOPE_FLOOR, lesion_f1
from metricnet.exact import exact_f1
from metricnet.guidance import cut_into_pieces, estimate_with_slope, guide
from metricnet.loss import require_shapes


@pytest.fixture
def loss() -> LesionWiseLoss:
    torch.manual_seed(0)
    return LesionWiseLoss(LesionEstimator("structured", patch=32))


@pytest.fixture
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    truth = torch.zeros(2, 1, 32, 32, 32)
    truth[:, :, 8:12, 8:12, 8:12] = 1
    return torch.rand(2, 1, 32, 32, 32), truth


def test_gradient_reaches_the_prediction_alone(loss, maps):
    probability, truth = (volume.clone().requires_grad_() for volume in maps)
    loss(probability, truth).backward()
    assert probability.grad is not None
    assert probability.grad.abs().sum() > 0
    assert truth.grad is None
    assert all(weight.grad is None for weight in loss.estimator.parameters())


def test_estimator_stays_frozen_in_train_mode(loss):
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 1, 1), loss)
    network.train()
    assert not loss.estimator.training
    assert not any(module.training for module in loss.estimator.modules())
    assert not any(weight.requires_grad for weight in loss.parameters())


def test_an_optimiser_step_leaves_the_estimator_as_it_was(loss, maps):
    before = copy.deepcopy(loss.estimator.state_dict())
    network = torch.nn.Conv3d(1, 1, 1)
    optimiser = torch.optim.SGD([*network.parameters(), *loss.parameters()], lr=1.0)
    loss(torch.sigmoid(network(maps[0])), maps[1]).backward()
    optimiser.step()
    after = loss.estimator.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_loss_is_one_minus_the_mean_estimate(loss, maps):
    assert loss(*maps).item() == pytest.approx(1 - loss.estimated_f1(*maps).mean().item())


def test_the_published_form_refuses_another_patch_size_and_names_both():
    loss = LesionWiseLoss(LesionEstimator("published", patch=32))
    with pytest.raises(ValueError, match="32³, got 16 x 16 x 16"):
        loss(torch.zeros(1, 1, 16, 16, 16), torch.zeros(1, 1, 16, 16, 16))


def test_any_patch_size_is_taken_and_filled_up_with_background(loss, maps):
    probability, truth = (volume[..., :22, :32, :30] for volume in maps)
    filled = [
        torch.nn.functional.pad(volume, (0, 2, 0, 0, 0, 2)) for volume in (probability, truth)
    ]
    assert loss(probability, truth).item() == pytest.approx(loss(*filled).item())


@pytest.mark.parametrize("kind", [lambda loss: loss, lambda loss: TrustedLoss(loss, "geo", 1.0)])
def test_logits_and_swapped_maps_are_refused(loss, maps, kind):
    probability, truth = maps
    for _ in range(2):  # who tries again is told again
        with pytest.raises(ValueError, match="logits need a sigmoid, or a softmax, first"):
            kind(loss)(torch.logit(probability, 1e-6), truth)
        with pytest.raises(ValueError, match="a truth of 0 and 1 is needed"):
            kind(loss)(truth, probability)


@pytest.mark.parametrize(
    ("probability", "truth"),
    [((2, 1, 8, 8, 8), (2, 8, 8, 8)), ((2, 8, 8, 8), (2, 8, 8, 8)), ((), (1, 1, 8, 8, 8))],
)
def test_other_shapes_are_refused(probability, truth):
    with pytest.raises(ValueError, match="batch x class x depth x height x width; got "):
        require_shapes(probability, truth)


def test_the_package_s_loss_may_be_cut_at_one_half():
    fixed = LesionWiseLoss.pretrained(thresholds=(0.5, 0.5))
    maps = torch.rand(2, 1, 8, 8, 8)
    assert torch.equal(fixed.at_thresholds(maps, 3), maps)


@pytest.mark.parametrize("thresholds", [(30, 70), (0.7, 0.3), (0.0, 0.5), (0.5, 1.0)])
def test_thresholds_that_are_none_are_refused(thresholds):
    with pytest.raises(ValueError, match="thresholds from low to high within 0 to 1 are needed"):
        LesionWiseLoss.pretrained(thresholds=tuple(map(float, thresholds)))


def test_a_map_that_is_not_a_number_is_refused(loss, maps):
    with pytest.raises(ValueError, match="found nan to nan"):
        loss(maps[0] * float("nan"), maps[1])


def test_classes_count_alike(loss, maps):
    of_classes = [loss.estimated_f1(probability, maps[1]) for probability in (maps[0], 0 * maps[0])]
    probability = torch.cat([maps[0], 0 * maps[0]], dim=1)
    together = loss.estimated_f1(probability, maps[1].expand(-1, 2, -1, -1, -1))
    assert together.tolist() == pytest.approx(((of_classes[0] + of_classes[1]) / 2).tolist())


def test_patches_longer_along_one_axis_are_taken_as_they_are(loss, maps):
    probability, truth = (volume[:, :, :8, :24] for volume in maps)
    assert loss(probability, truth).item() == pytest.approx(
        1 - loss.estimator(probability, truth).mean().item()
    )
    own = probability.clone().requires_grad_()
    loss(own, truth).backward()
    assert own.grad.shape == (2, 1, 8, 24, 32)
    assert own.grad.isfinite().all()


def test_three_classes_are_the_mean_of_three(loss, maps):
    probability = torch.cat([maps[0], 0 * maps[0], maps[0].flip(2)], dim=1)
    truth = torch.cat([maps[1], maps[1], 0 * maps[1]], dim=1)  # none of the third class
    of_classes = [
        loss.estimated_f1(probability[:, [c]], truth[:, [c]]) for c in range(probability.shape[1])
    ]
    assert torch.allclose(
        loss.estimated_f1(probability, truth), torch.stack(of_classes).mean(0), atol=1e-6
    )


@pytest.mark.parametrize("guided", [True, False])
def test_a_lesion_of_one_voxel_and_an_empty_truth_share_a_batch(loss, maps, guided):
    loss.guided = guided
    loss.estimator.network.head.bias.data[:] = 0.5
    truth = torch.zeros_like(maps[1])
    truth[0, 0, 16, 16, 16] = 1
    probability = maps[0].clone().requires_grad_()
    together = loss.estimated_f1(probability, truth)
    alone = [loss.estimated_f1(maps[0][[n]], truth[[n]]).item() for n in range(2)]
    assert together.tolist() == pytest.approx(alone, abs=1e-6)
    (1 - together).mean().backward()
    assert probability.grad.isfinite().all()
    assert guided or all(sample.abs().sum() > 0 for sample in probability.grad)


def test_a_patch_of_one_voxel_is_scored_without_a_nan(loss):
    probability = torch.ones(1, 1, 1, 1, 1, requires_grad=True)
    loss(probability, torch.zeros(1, 1, 1, 1, 1)).backward()
    assert probability.grad.isfinite().all()


def test_nothing_predicted_in_an_empty_truth_has_no_gradient(loss, maps):
    probability = (0.29 * maps[0]).requires_grad_()  # below every threshold
    loss(probability, torch.zeros_like(maps[1])).backward()
    assert not probability.grad.any()


def test_an_empty_truth_scores_one_where_nothing_is_predicted_and_nearly_zero_elsewhere(loss, maps):
    empty = torch.zeros_like(maps[1])
    assert loss(empty, empty).item() == pytest.approx(0, abs=1e-5)
    loss.estimator.network.head.bias.data[2:] = 1.0  # predicted lesions, all false
    assert loss(maps[0], empty).item() > 0.9


def test_the_guided_gradient_is_the_guided_slope_at_the_thresholds_of_the_samples(loss, maps):
    probability, truth = maps[0].clone().requires_grad_(), maps[1]
    for first in (0, 2):  # the second step goes on where the first ended
        probability.grad = None
        (-3 * loss(probability, truth)).backward()
        shown = loss.at_thresholds(maps[0], first)
        estimated, slope = estimate_with_slope(loss.estimator, shown, truth)
        assert torch.equal(estimated, loss.estimated_f1(shown, truth))
        # three times the mean over 2 samples
        expected = 1.5 * guide(slope, cut_into_pieces(shown, truth))
        assert torch.allclose(probability.grad, expected, rtol=1e-4, atol=1e-9)


def test_thresholds_wander_evenly_over_their_range(loss):
    half = torch.full((1000, 1, 1, 1, 1), 0.5)
    thresholds = 1 - loss.at_thresholds(half, 0).flatten()
    assert 0.3 <= thresholds.min() < 0.301
    assert 0.699 < thresholds.max() <= 0.7
    for part in thresholds.split(50):
        assert (part < 0.5).float().mean().item() == pytest.approx(0.5, abs=0.06)
    assert torch.equal(loss.at_thresholds(half[:10], 30), loss.at_thresholds(half, 0)[30:40])


def test_without_a_gradient_and_without_guidance_maps_are_cut_at_one_half(loss, maps):
    cut_at_half = 1 - loss.estimator(*maps).mean().item()
    assert [loss(*maps).item() for _ in range(3)] == pytest.approx([cut_at_half] * 3)
    free = LesionWiseLoss(loss.estimator, guided=False)
    probability = maps[0].clone().requires_grad_()
    assert [free(probability, maps[1]).item() for _ in range(3)] == pytest.approx([cut_at_half] * 3)
    published = LesionWiseLoss(LesionEstimator("published", 32))
    assert torch.equal(published.at_thresholds(maps[0], 3), maps[0])


def test_the_free_gradient_is_the_networks_own(loss, maps):
    probability, truth = maps[0].clone().requires_grad_(), maps[1]
    free = LesionWiseLoss(loss.estimator, guided=False)
    free(probability, truth).backward()
    again = maps[0].clone().requires_grad_()
    (-loss.estimator(again, truth).mean()).backward()
    assert torch.allclose(probability.grad, again.grad, atol=1e-7)


@pytest.mark.parametrize("weight", [-1.0, 0.0, float("nan"), float("inf")])
def test_a_weight_of_false_lesions_that_is_not_above_0_is_refused(loss, weight):
    with pytest.raises(ValueError, match="above 0 is needed"):
        LesionWiseLoss(loss.estimator, false_weight=weight)


def test_a_missed_lesion_shows_a_little_where_its_slope_is_taken(loss, maps):
    nothing, truth = torch.zeros_like(maps[0]), maps[1]
    estimated, slope = estimate_with_slope(loss.estimator, nothing, truth)
    near = (0.2 * truth).requires_grad_()
    loss.estimator.estimate(near, truth).f1.sum().backward()
    assert torch.allclose(slope, near.grad, atol=1e-7)
    assert torch.equal(estimated, loss.estimator(nothing, truth))


def test_patches_with_and_without_missed_lesions_are_scored_as_they_are_shown(loss, maps):
    truth = maps[1]
    shown = torch.stack([truth[0], torch.zeros_like(truth[1])])  # all found, and none
    estimated, _ = estimate_with_slope(loss.estimator, shown, truth)
    assert torch.allclose(estimated, loss.estimator(shown, truth), atol=1e-6)


def test_the_slope_is_that_of_the_score_of_the_whole_batch_class_by_class(loss, maps):
    loss.estimator.network.head.bias.data[:] = 0.5
    shown, truth = (maps[0] >= 0.5).float(), maps[1].clone()
    truth[1] = 0  # a false lesion here costs what it costs the batch
    classes = torch.cat([shown, shown.flip(2)], 1), torch.cat([truth, truth.flip(3)], 1)
    patches = [volume.flatten(0, 1)[:, None] for volume in classes]
    _, slope = estimate_with_slope(loss.estimator, *patches, classes=2)
    near = torch.maximum(patches[0], 0.2 * patches[1]).requires_grad_()
    densities = loss.estimator.estimate(near, patches[1]).densities
    first, second = densities[0::2].sum(0), densities[1::2].sum(0)
    pooled = lesion_f1(torch.stack([first, second]), SLOPE_FLOOR).mean()
    (expected,) = torch.autograd.grad(pooled, near)
    # the loss weighs each of the four patches by a quarter
    assert torch.allclose(slope / 4, expected, rtol=1e-4, atol=1e-9)
    own = classes[0].clone().requires_grad_()
    loss.estimated_f1(own, classes[1]).mean().backward()
    guided = guide(expected, cut_into_pieces(*patches))
    assert torch.allclose(own.grad.flatten(0, 1)[:, None], guided, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_maps_in_half_precision_have_the_loss_and_slope_of_full_ones(loss, maps, dtype):
    gradients = []
    for probability in (maps[0].to(dtype).float(), maps[0].to(dtype)):
        own = probability.requires_grad_()
        # afresh, since the thresholds wander
        LesionWiseLoss(loss.estimator)(own, maps[1].to(own.dtype)).backward()
        gradients.append(own.grad.float())
    assert torch.allclose(*gradients, rtol=0.02, atol=1e-7)
    assert gradients[0].abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_estimator_keeps_its_weights_where_the_module_around_it_is_cast(loss, maps, dtype):
    expected = LesionWiseLoss(loss.estimator)(*maps)
    before = {name: weight.clone() for name, weight in loss.state_dict().items()}
    around = torch.nn.ModuleList([torch.nn.Linear(2, 2), loss]).to(dtype)
    assert next(around[0].parameters()).dtype == dtype
    assert all(torch.equal(weight, before[name]) for name, weight in loss.state_dict().items())
    assert torch.equal(around[1](*maps), expected)


def test_a_compiled_step_has_the_loss_and_the_slope_of_a_plain_one(loss, maps):
    def step(own):
        return LesionWiseLoss(loss.estimator)(own.sigmoid(), maps[1])

    plain, compiled = (maps[0].clone().requires_grad_() for _ in range(2))
    expected, found = step(plain), torch.compile(step, backend="eager")(compiled)
    assert torch.equal(expected, found)
    expected.backward()
    found.backward()
    assert torch.equal(plain.grad, compiled.grad)


def test_a_truth_in_bf16_has_the_exact_score_of_one_in_float32(maps):
    probability, truth = maps
    scores = [
        exact_f1(probability, wanted, "overlap", (1.0, 1.0, 1.0))
        for wanted in (truth, truth.bfloat16())
    ]
    assert torch.equal(*scores)
