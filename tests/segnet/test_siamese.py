import torch

from segnet.siamese import SiameseSegResNet


def test_the_decoder_sees_visit_2_and_what_has_changed():
    torch.manual_seed(0)
    network = SiameseSegResNet(channels=8, visit_channels=1, outputs=1).eval()
    visit1, visit2 = torch.randn(2, 1, 1, 16, 16, 16).unbind(0)
    with torch.inference_mode():
        unchanged, changed = (network(torch.cat([first, visit2], 1)) for first in (visit2, visit1))
        for merge in network.merges:  # the second half of its inputs is the change
            merge.weight[:, merge.weight.shape[1] // 2 :] = 0
        blind = network(torch.cat([visit1, visit2], 1))
    assert unchanged.shape == (1, 1, 16, 16, 16)
    assert torch.allclose(blind, unchanged, atol=1e-5)
    assert not torch.allclose(changed, unchanged, atol=1e-2)
