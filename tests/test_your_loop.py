"""What docs/your_loop.md shows runs, on tiny data, and does what is said of it."""

import copy
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate

from metricnet import LesionEstimator, LesionWiseLoss

PAGE = (Path(__file__).parent.parent / "docs" / "your_loop.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
MARKS = {  # words that one block alone holds
    "own": "load_estimator(",
    "plain": "def train(network, loader",
    "gap": "exact_f1(",
    "monai": "class DiceAndLesions",
    "ignite": "SupervisedTrainer(",
    "nnunet": "class nnUNetTrainerLesionWise",
    "export": "torch.export.save(",
    "onnx": "torch.onnx.export(",
}
EDGE = 32
CPU = torch.device("cpu")


def test_every_block_of_the_page_is_known_to_these_tests():
    assert len(BLOCKS) == len(MARKS)
    assert all(sum(mark in block for mark in MARKS.values()) == 1 for block in BLOCKS)


def code(name: str) -> str:
    """The block of this name, for the tiny patches of these tests."""
    (found,) = (block for block in BLOCKS if MARKS[name] in block)
    return found.replace("64, 64, 64)", "32, 32, 32)").replace("patch=64", "patch=32")


def run_block(name: str, **given: object) -> dict:
    """Run the block; the names it defines."""
    space = {"__name__": "your_loop", **given}
    exec(compile(code(name), "docs/your_loop.md", "exec"), space)
    return space


def lively(form: str = "structured") -> LesionEstimator:
    """A small random estimator whose estimates lie well between 0 and 1."""
    torch.manual_seed(0)
    estimator = LesionEstimator(form, EDGE)
    if form == "structured":
        torch.nn.init.normal_(estimator.network.head.weight, std=0.2)
        torch.nn.init.constant_(estimator.network.head.bias, 0.3)
    else:
        torch.nn.init.constant_(estimator.network[-1].bias, 0.5)
    return estimator.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def estimator() -> LesionEstimator:
    return lively()


@pytest.fixture(autouse=True, scope="module")
def pretrained(estimator) -> Iterator[None]:
    """The small estimator takes the place of the one that ships with lesionwise."""
    with pytest.MonkeyPatch.context() as patch:
        loss = staticmethod(lambda: LesionWiseLoss(estimator))
        patch.setattr(LesionWiseLoss, "pretrained", loss, raising=False)
        yield


@pytest.fixture
def before(estimator) -> dict[str, torch.Tensor]:
    """Weights of the estimator as they were at first."""
    return copy.deepcopy(estimator.state_dict())


def same(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(weights[name], others[name]) for name in weights)


def tiny_truth(samples: int = 2) -> torch.Tensor:
    """Two lesions of 4³ voxels in the first sample, none in the others."""
    truth = torch.zeros(samples, 1, EDGE, EDGE, EDGE)
    truth[0, 0, 4:8, 4:8, 4:8] = truth[0, 0, 20:24, 20:24, 20:24] = 1
    return truth


def tiny_network(classes: int = 1) -> torch.nn.Module:
    torch.manual_seed(1)
    layers = torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(4, classes, 1)
    return torch.nn.Sequential(*layers)


def test_a_plain_loop_learns_and_leaves_the_estimator_as_it_was(estimator, before):
    train = run_block("plain")["train"]
    truth = tiny_truth()
    loader = [(truth + 0.1 * torch.rand_like(truth), truth)]
    of_alpha = {}
    for alpha in (0.0, 3.0):
        network = tiny_network()
        of_alpha[alpha] = train(network, loader, 6, alpha=alpha, warmup_epochs=3)
        assert all(w.grad.isfinite().all() for w in network.parameters())
        assert of_alpha[alpha][-1] < of_alpha[alpha][3]
    assert of_alpha[3.0][:3] == of_alpha[0.0][:3]  # Dice alone
    assert of_alpha[3.0][3] > of_alpha[0.0][3] + 0.01  # the same network, and 1 − F̂ on top
    assert same(before, estimator.state_dict())


def test_the_gap_is_that_of_estimate_and_exact_score(estimator):
    space = run_block("gap")
    estimated = estimator(space["probability"], space["truth"])
    assert space["exact"].tolist() == [0, 0]  # lesions predicted, none true
    assert space["gap"].item() == pytest.approx(estimated.mean().item(), abs=1e-6)


def test_an_estimator_of_your_own_is_read_with_its_agreement(tiny_estimator):
    text = code("own").replace("runs/demo/estimator", str(tiny_estimator))
    space: dict = {}
    exec(compile(text, "docs/your_loop.md", "exec"), space)
    assert space["agreement"].patch == EDGE
    assert not any(weight.requires_grad for weight in space["lesion_wise_loss"].parameters())


@pytest.fixture
def cases(tiny_cohort) -> list[dict]:
    """The cases of the tiny cohort that hold a lesion, as MONAI's dictionaries of files."""
    folders = [tiny_cohort / f"case{number}" for number in range(2)]
    return [
        {
            "image": [folder / f"flair_time0{v}_on_middle_space.nii.gz" for v in (1, 2)],
            "label": folder / "ground_truth.nii.gz",
        }
        for folder in folders
    ]


def test_a_monai_loop_learns_and_leaves_the_estimator_as_it_was(estimator, before, cases):
    space = run_block("monai")
    torch.manual_seed(0)
    network, history = space["train"](cases, 6, space["DiceAndLesions"](warmup_epochs=4), rate=0.03)
    assert history[3] < history[0]  # Dice of other patches each time
    assert history[4] > history[3] + 0.05  # 1 − F̂ on top
    assert all(w.grad.isfinite().all() for w in network.parameters())
    assert same(before, estimator.state_dict())


def test_the_loss_for_monai_takes_meta_tensors_and_adds_the_term_after_its_warm_up(estimator):
    loss_function = run_block("monai")["DiceAndLesions"](warmup_epochs=1)
    truth = tiny_truth()
    logits = 8 * truth.roll(2, dims=2) - 4
    samples = [
        {"own": MetaTensor(logits[n]), "truth": MetaTensor(truth[n])} for n in range(len(truth))
    ]
    batch = list_data_collate(samples)  # as MONAI's loader makes it: with metadata of each sample
    batch["own"].requires_grad_()
    dice = loss_function(batch["own"], batch["truth"]).item()
    loss_function.epoch = 1
    both = loss_function(batch["own"], batch["truth"])
    term = 1 - estimator(logits.sigmoid(), truth).mean()
    assert both.item() == pytest.approx(dice + 3 * term.item(), abs=1e-5)
    both.backward()
    assert batch["own"].grad.isfinite().all()


@pytest.fixture
def ignite(monkeypatch) -> None:
    """MONAI's engines, imported anew: torch's warnings about ignite may have spoilt the first."""
    pytest.importorskip("ignite", reason="MONAI's engines need pytorch-ignite")
    for name in [name for name in sys.modules if name.startswith("monai.engines")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.filterwarnings("ignore")  # those of packages that are no dependency
def test_monais_trainer_learns_with_the_loss(ignite, estimator, before):
    loss_function = run_block("monai")["DiceAndLesions"](warmup_epochs=4)
    truth = tiny_truth()
    loader = [{"image": truth + 0.1 * torch.rand_like(truth), "label": truth}]
    network = tiny_network()
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    trainer = run_block("ignite")["trainer"]
    engine = trainer(network, loader, optimiser, 8, loss_function)
    history = []
    from ignite.engine import Events

    engine.add_event_handler(
        Events.EPOCH_COMPLETED, lambda engine: history.append(engine.state.output[0]["loss"])
    )
    engine.run()
    assert loss_function.epoch == 7
    assert history[4] > history[3]  # the term sets in
    assert history[7] < history[4]
    assert same(before, estimator.state_dict())


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
def nnunet_trainer(tmp_path, monkeypatch):
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
        trainer = trainer_class(plans(), "tiny", 0, dataset, CPU)
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
def test_nnunet_learns_and_leaves_the_estimator_as_it_was(nnunet_trainer, estimator, before):
    trainer = nnunet_trainer(LABELS, warmup_epochs=1)
    batch = nnunet_batch(tiny_truth())
    assert len(trainer.network(batch["data"])) == len(batch["target"])
    history = []
    for trainer.current_epoch in (0, 1):
        history.append([float(trainer.train_step(batch)["loss"]) for _ in range(8)])
    assert history[0][-1] < history[0][0]
    assert history[1][-1] < history[1][0]
    assert all(w.grad.isfinite().all() for w in trainer.network.parameters() if w.grad is not None)
    assert same(before, estimator.state_dict())
    with torch.no_grad():
        trainer.network.eval()
        assert np.isfinite(trainer.validation_step(batch)["loss"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("supervised", [True, False])
def test_nnunet_adds_the_term_of_full_resolution_after_its_warm_up(
    nnunet_trainer, estimator, supervised
):
    trainer = nnunet_trainer(LABELS, warmup_epochs=1, enable_deep_supervision=supervised)
    truth = tiny_truth()
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


@pytest.mark.filterwarnings("ignore")
def test_nnunet_ignores_what_is_to_be_ignored_and_counts_classes_alike(nnunet_trainer, estimator):
    labels = {"background": 0, "new": 1, "old": 2, "ignore": 3}
    trainer = nnunet_trainer(labels, enable_deep_supervision=False)
    truth = tiny_truth()
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


@pytest.fixture(scope="module")
def exported(pretrained, tmp_path_factory) -> dict:
    """What the block of the export defines, and the folder of its file."""
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return {**run_block("export"), "folder": folder}


SIZES = [(1, 16, 24, 40), (3, 32, 32, 32)]


def some_maps(batch: int, *sides: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    return torch.rand(batch, 1, *sides), (torch.rand(batch, 1, *sides) > 0.999).float()


def test_a_saved_program_estimates_what_the_estimator_does_at_any_size(exported, estimator):
    program = torch.export.load(exported["folder"] / "estimator.pt2").module()
    for size in SIZES:
        maps = some_maps(*size)
        expected = estimator(*maps)
        assert ((expected > 0.01) & (expected < 0.99)).all()
        assert torch.allclose(program(*maps), expected, atol=1e-5)


def test_the_published_form_is_exported_with_a_free_batch(exported):
    published = lively("published")
    program = exported["export"](published, EDGE).module()
    maps = some_maps(3, EDGE, EDGE, EDGE)
    assert torch.allclose(program(*maps), published(*maps), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_onnx_estimates_what_the_estimator_does_at_any_size(
    exported, estimator, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="ONNX's packages are no dependencies of lesionwise")
    import onnxruntime

    run_block("onnx", torch=torch, program=exported["program"])
    session = onnxruntime.InferenceSession("estimator.onnx", providers=["CPUExecutionProvider"])
    for size in SIZES:
        probability, truth = some_maps(*size)
        inputs = {"probability": probability.numpy(), "truth": truth.numpy()}
        (f1,) = session.run(None, inputs)
        assert torch.allclose(torch.from_numpy(f1), estimator(probability, truth), atol=1e-5)
