"""Values and gradients beside those that the authors' own programs produced."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from segnet import losses
from segnet.distances import signed_distance

# the authors' map of an empty class holds a sentinel of their distance tool
SENTINEL_MM = 1e6


def signed_distance_minus_one(mask, spacing_mm):
    """Distance map of the boundary loss's authors (Kervadec et al. 2021).

    Outside, the distance to the mask; inside, 1 minus the distance to its end: the 1 is meant as a
    voxel, so the map is positive inside where voxels are smaller than 1 mm. 0 for an empty mask;
    for a full one, minus the image's diagonal.
    """
    if mask.all() or not mask.any():
        return signed_distance(mask, spacing_mm) * np.float32(mask.any())
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    return np.where(mask, 1 - inside, outside).astype(np.float32)


def foreground(logits):
    """Logit of the foreground against the background, as one channel."""
    return logits[:, 1:] - logits[:, :1]


def probability(logits):
    return logits.softmax(1)


def test_dice_is_that_of_the_surface_paper(oracle, agrees):
    agrees("gsl.DiceLoss", lambda z: losses.dice_loss_per_sample(probability(z), oracle.truth))
    agrees("seed.eq3_dice", lambda z: losses.dice_loss_per_sample(probability(z), oracle.truth))


def test_dice_over_the_batch_is_monais_with_squares(oracle, agrees):
    agrees("monai.DiceLoss(squared_pred)", lambda z: losses.dice_loss(probability(z), oracle.truth))


def test_dice_ce_is_reached_as_printed_and_as_coded(oracle, agrees):
    agrees("seed.eq4_dice_ce", lambda z: losses.dice_ce_loss(z, oracle.truth, "printed"))
    agrees("gsl.DiceCELoss", lambda z: losses.dice_ce_loss(z, oracle.truth, "code"))


def test_one_channel_counts_as_two_classes(oracle, agrees):
    truth = oracle.truth[:, 1:]
    agrees("gsl.DiceCELoss", lambda z: losses.dice_ce_loss(foreground(z), truth, "code"))
    agrees("nnunet.RobustCE", lambda z: losses.cross_entropy(foreground(z), truth).mean())
    agrees("nnunet.RobustCE", lambda z: losses.bce_loss(foreground(z), truth))


def test_cross_entropy_is_that_of_nnunet(oracle, agrees):
    agrees("nnunet.RobustCE", lambda z: losses.cross_entropy(z, oracle.truth).mean())


def test_focal_loss_without_its_exponent_is_cross_entropy(oracle, agrees):
    agrees("nnunet.RobustCE", lambda z: losses.focal_loss(z, oracle.truth, 0.0))
    agrees("nnunet.RobustCE", lambda z: losses.focal_loss(foreground(z), oracle.truth[:, 1:], 0.0))


def test_generalised_dice_is_reached_as_coded(oracle, agrees):
    key = "gsl.GDL_dynamic(WeightedDiceLoss(None))"
    agrees(key, lambda z: losses.generalised_dice_loss(probability(z), oracle.truth))
    weights = oracle.tensor("class_weights_eq13")
    agrees(
        "gsl.GDL_precomputed",
        lambda z: losses.generalised_dice_loss(probability(z), oracle.truth, weights),
    )


def test_generalised_dice_is_reached_as_printed(oracle, agrees):
    if oracle.name == "bin_empty":
        pytest.skip("printed eq. 6 divides by zero without a lesion")
    agrees(
        "seed.eq5_gdl",
        lambda z: losses.generalised_dice_loss(probability(z), oracle.truth, form="printed"),
    )


def test_tversky_is_monais(oracle, agrees):
    agrees(
        "monai.TverskyLoss(.3,.7)",
        lambda z: losses.tversky_loss(probability(z)[:, 1:], oracle.truth[:, 1:]),
    )


def test_class_weights_are_those_of_eq_13(oracle):
    voxels = [int(count) for count in oracle.truth.sum((0, 2, 3, 4))]
    wanted = oracle.tensor("class_weights_eq13")
    torch.testing.assert_close(losses.class_weights(voxels), wanted, rtol=1e-7, atol=0)


def test_distance_maps_are_the_papers_in_millimetres(oracle):
    for label, wanted in enumerate(oracle.arrays["dtm_gsl"][0]):
        mask = oracle.arrays["label"][0, 0] == label
        found = signed_distance(mask, oracle.spacing_mm)
        known = np.abs(wanted) < SENTINEL_MM
        np.testing.assert_allclose(found[known], wanted[known], atol=1e-4)
        assert np.isfinite(found).all()


def test_distance_maps_of_the_boundary_loss_are_its_authors(oracle):
    for label, wanted in enumerate(oracle.arrays["dtm_kerv_f32"][0]):
        mask = oracle.arrays["label"][0, 0] == label
        if not mask.all():
            found = signed_distance_minus_one(mask, oracle.spacing_mm)
            np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_boundary_loss_is_its_authors_for_every_choice_of_classes(oracle, agrees):
    maps = oracle.tensor("dtm_kerv_f32")
    key = "kervadec.SurfaceLoss(kerv_f32,idc={})"
    agrees(key.format("all"), lambda z: losses.boundary_loss(probability(z), maps))
    agrees(key.format("fg"), lambda z: losses.boundary_loss(probability(z)[:, 1:], maps[:, 1:]))


def test_surface_boundary_and_hausdorff_losses_are_the_surface_papers(oracle, agrees):
    maps, truth = oracle.tensor("dtm_gsl"), oracle.truth
    weights = oracle.tensor("class_weights_eq13")
    key = "gsl.GenSurfLoss({},alpha=0.0)"
    surface = losses.surface_loss
    agrees(key.format("precomputed"), lambda z: surface(probability(z), truth, maps, weights), 1e-9)
    agrees("seed.eq12_gsl", lambda z: surface(probability(z), truth, maps, weights), 1e-9)
    agrees(key.format("None"), lambda z: surface(probability(z), truth, maps), 1e-9)
    if oracle.name != "bin_empty":  # a sentinel, see the distance maps
        agrees(
            "gsl.BoundaryLoss(alpha=0.0)",
            lambda z: losses.boundary_loss(probability(z), maps),
            1e-9,
        )
        agrees(
            "gsl.HDOneSidedLoss(alpha=0.0)",
            lambda z: losses.hausdorff_loss(probability(z), truth, maps),
            1e-9,
        )


def test_blends_are_the_surface_papers(oracle, agrees):
    maps, truth = oracle.tensor("dtm_gsl"), oracle.truth
    weights = oracle.tensor("class_weights_eq13")

    def blend(logits):
        region = losses.dice_ce_loss(logits, truth, "code")
        return 0.5 * region + 0.5 * losses.surface_loss(probability(logits), truth, maps, weights)

    agrees("gsl.GenSurfLoss(precomputed,alpha=0.5)", blend)


def test_losses_on_our_maps_of_an_empty_truth_are_finite(oracle):
    maps = np.stack(
        [
            signed_distance(oracle.arrays["label"][0, 0] == label, oracle.spacing_mm)
            for label in (0, 1)
        ]
    )
    distance = torch.from_numpy(maps)[None].double()
    logits = oracle.logits
    loss = losses.boundary_loss(probability(logits), distance) + losses.hausdorff_loss(
        probability(logits), oracle.truth, distance
    )
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().max() < 1


def test_blob_loss_is_its_authors_with_masked_probabilities(oracle):
    key = "blob.blob(sigmoid=True:probs masked)"
    logit = foreground(oracle.logits).detach().requires_grad_()
    lesions = torch.from_numpy(oracle.arrays["multi_label"].astype(np.int64))
    loss = losses.blob_loss(logit, lesions)
    assert loss.item() == pytest.approx(float(oracle.arrays[f"v|{key}"]), rel=1e-5)
    loss.backward()
    index = oracle.arrays["grad_index"] % logit.numel()
    found, wanted = logit.grad.flatten()[index].numpy(), oracle.arrays[f"g|{key}"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-6 * abs(wanted).max())
