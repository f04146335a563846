"""MONAI's loops learn with the loss, as docs/your_loop.md shows it."""

import sys

import pytest
import torch
from monai.data import MetaTensor, list_data_collate


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


@pytest.mark.usefixtures("estimator")
@pytest.mark.filterwarnings("ignore:NvImgCodec")  # of packages that are no dependency
def test_a_monai_loop_learns(run_block, cases):
    space = run_block("monai")
    torch.manual_seed(0)
    network, history = space["train"](cases, 6, space["DiceAndLesions"](first_epoch=4), rate=0.03)
    assert history[3] < history[0]  # Dice of other patches each time
    assert history[4] > history[3] + 0.05  # 1 − F̂ on top
    assert all(w.grad.isfinite().all() for w in network.parameters())


def test_the_loss_for_monai_takes_meta_tensors_and_adds_the_term_in_its_epochs(
    run_block, estimator, truth
):
    loss_function = run_block("monai")["DiceAndLesions"](first_epoch=1, end_epoch=2)
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
    loss_function.epoch = 2
    assert loss_function(batch["own"], batch["truth"]).item() == dice


@pytest.fixture
def ignite(monkeypatch) -> None:
    """MONAI's engines, imported anew: torch's warnings about ignite may have spoilt the first."""
    pytest.importorskip("ignite", reason="MONAI's engines need pytorch-ignite")
    for name in [name for name in sys.modules if name.startswith("monai.engines")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.filterwarnings("ignore")  # those of packages that are no dependency
@pytest.mark.usefixtures("estimator", "ignite")
def test_monais_trainer_learns(run_block, truth, make_network):
    loss_function = run_block("monai")["DiceAndLesions"](first_epoch=4)
    loader = [{"image": truth + 0.1 * torch.rand_like(truth), "label": truth}]
    network = make_network()
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
