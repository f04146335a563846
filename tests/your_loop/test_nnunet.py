"""nnU-Net's trainer learns with the loss, as docs/your_loop.md shows it."""

import numpy as np
import pytest
import torch

EDGE = 32


def plans() -> dict:
    """Plans of a tiny nnU-Net with outputs at two resolutions."""
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "_kw_requires_import": ["conv_op", "norm_op", "nonlin"],
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [4, 8, 8],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * 3,
            "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
            "n_conv_per_stage": [1, 1, 1],
            "n_conv_per_stage_decoder": [1, 1],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": "torch.nn.LeakyReLU",
        },
    }
    tiny = {
        "data_identifier": "tiny",
        "batch_size": 2,
        "patch_size": [EDGE] * 3,
        "batch_dice": True,
        "architecture": architecture,
    }
    names = {"dataset_name": "Dataset001_Tiny", "plans_name": "nnUNetPlans"}
    return {**names, "continue_training": False, "configurations": {"tiny": tiny}}


@pytest.fixture
def nnunet_trainer(run_block, estimator, tmp_path, monkeypatch):
    """Makes the page's trainer for the given labels, on the CPU, as nnU-Net makes it."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path / name))
    pytest.importorskip("nnunetv2", reason="nnU-Net v2 is no dependency of lesionwise")
    folder = tmp_path / "nnUNet_preprocessed" / "Dataset001_Tiny" / "tiny"
    folder.mkdir(parents=True)
    np.savez(folder / "case.npz", data=np.zeros(1))  # tells nnU-Net the format of its data

    def make(labels: dict, **settings: object):
        trainer_class = run_block("nnunet")["nnUNetTrainerLesionWise"]
        dataset = {"channel_names": {"0": "FLAIR"}, "labels": labels, "file_ending": ".nii.gz"}
        dataset["regions_class_order"] = [1, 2]  # of use for regions alone
        torch.manual_seed(0)
        trainer = trainer_class(plans(), "tiny", 0, dataset, device=torch.device("cpu"))
        for name, value in settings.items():
            setattr(trainer, name, value)
        trainer.initialize()
        trainer.set_deep_supervision_enabled(trainer.enable_deep_supervision)
        return trainer

    return make


LABELS = {"background": 0, "lesion": 1}


def nnunet_batch(truth: torch.Tensor, supervised: int = 2) -> dict:
    image = truth.clamp(max=1) + 0.1 * torch.rand(truth.shape)
    targets = [truth[..., :: 2**level, :: 2**level, :: 2**level] for level in range(supervised)]
    return {"data": image, "target": targets}


@pytest.mark.filterwarnings("ignore")
def test_nnunet_learns(nnunet_trainer, truth):
    trainer = nnunet_trainer(LABELS, first_epoch=1)
    batch = nnunet_batch(truth)
    assert len(trainer.network(batch["data"])) == len(batch["target"])
    history = []
    for trainer.current_epoch in (0, 1):
        history.append([float(trainer.train_step(batch)["loss"]) for _ in range(8)])
    assert history[0][-1] < history[0][0]
    assert history[1][-1] < history[1][0]
    assert all(w.grad.isfinite().all() for w in trainer.network.parameters() if w.grad is not None)
    with torch.no_grad():
        trainer.network.eval()
        assert np.isfinite(trainer.validation_step(batch)["loss"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("supervised", [True, False])
def test_nnunet_adds_the_term_of_full_resolution_in_its_epochs(
    nnunet_trainer, estimator, truth, supervised
):
    course = {"first_epoch": 1, "end_epoch": 2}
    trainer = nnunet_trainer(LABELS, **course, enable_deep_supervision=supervised)
    logits = torch.cat([-truth, truth], 1).roll(2, dims=2) * 4 - torch.tensor([-3.0, 3.0]).view(
        1, 2, 1, 1, 1
    )
    outputs, targets = (logits, truth)
    if supervised:
        outputs, targets = (
            [logits, torch.rand(2, 2, 16, 16, 16)],
            [truth, truth[..., ::2, ::2, ::2]],
        )
    trainer.current_epoch = 0
    alone = trainer.loss(outputs, targets)
    trainer.current_epoch = 1
    term = 1 - estimator(logits.softmax(1)[:, 1:], truth).mean()
    assert term > 0.05
    added = trainer.loss(outputs, targets) - alone
    assert added.item() == pytest.approx(term.item(), abs=1e-5)
    trainer.current_epoch = 2
    assert trainer.loss(outputs, targets) == alone


@pytest.mark.filterwarnings("ignore")
def test_nnunet_ignores_what_is_to_be_ignored_and_counts_classes_alike(
    nnunet_trainer, estimator, truth
):
    labels = {"background": 0, "new": 1, "old": 2, "ignore": 3}
    trainer = nnunet_trainer(labels, enable_deep_supervision=False)
    truth[1, 0, 10:13, 10:13, 10:13] = 2
    truth[:, :, 16:] = 3
    logits = (6 * torch.rand(2, 3, EDGE, EDGE, EDGE) - 3).requires_grad_()
    with torch.no_grad():  # the maps are cut at one half
        term = trainer.lesion_wise_term(logits, truth)
    probability = logits.softmax(1)[:, 1:] * (truth != 3)
    of_classes = [
        1 - estimator(probability[:, [c]], (truth == c + 1).float()).mean() for c in (0, 1)
    ]
    assert term.item() == pytest.approx(torch.stack(of_classes).mean().item(), abs=1e-5)
    trainer.lesion_wise_term(logits, truth).backward()
    assert logits.grad[:, :, :16].abs().sum() > 0
    assert not logits.grad[:, :, 16:].any()
    assert torch.isfinite(trainer.loss(logits, truth))


@pytest.mark.filterwarnings("ignore")
def test_nnunet_refuses_regions_in_one_sentence(nnunet_trainer):
    with pytest.raises(ValueError, match="labels, not regions"):
        nnunet_trainer({"background": 0, "any": [1, 2], "new": 2})
