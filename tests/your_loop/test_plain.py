"""A plain loop on tiny patches learns with the loss, as docs/your_loop.md shows it."""

import pytest
import torch


@pytest.mark.usefixtures("estimator")
def test_a_plain_loop_learns(run_block, truth, make_network):
    train = run_block("plain")["train"]
    loader = [(truth + 0.1 * torch.rand_like(truth), truth)]
    of_alpha = {}
    for alpha in (0.0, 3.0):
        network = make_network()
        of_alpha[alpha] = train(network, loader, 7, alpha=alpha, warmup_epochs=3, finish_share=0.2)
        assert all(w.grad.isfinite().all() for w in network.parameters())
        assert of_alpha[alpha][5] < of_alpha[alpha][3]
    assert of_alpha[3.0][:3] == of_alpha[0.0][:3]  # Dice alone
    assert of_alpha[3.0][3] > of_alpha[0.0][3] + 0.01  # the same network, and 1 − F̂ on top
    assert of_alpha[3.0][6] < of_alpha[3.0][5] - 0.01  # without it again


def test_the_gap_is_that_of_estimate_and_exact_score(run_block, capsys):
    space = run_block("gap")
    value = space["value"]
    assert torch.equal(value.gap, (value.estimated_f1 - value.exact_f1).abs())
    assert space["trusted_loss"](space["probability"], space["truth"]).isfinite()
    assert f"{value.trust.mean():.0%}" in capsys.readouterr().out


def test_an_estimator_of_your_own_is_read_with_its_agreement(blocks, tiny_estimator):
    text = blocks["own"].replace("runs/demo/estimator", str(tiny_estimator))
    space: dict = {}
    exec(compile(text, "docs/your_loop.md", "exec"), space)
    assert space["agreement"].patch == 32
    assert not any(weight.requires_grad for weight in space["lesion_wise_loss"].parameters())
