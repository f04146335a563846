import pytest
import torch

from metricnet.devices import resolve_precision, turn_of


def test_precision_is_what_was_asked_for():
    assert resolve_precision("32") == "32"
    assert resolve_precision("bf16") == "bf16"
    native = torch.cuda.is_available() or torch.cpu.get_capabilities().get("avx512_bf16", False)
    assert resolve_precision("auto") == ("bf16" if native else "32")


@pytest.mark.parametrize("of_gpu", [False, True])
def test_what_runs_on_the_processor_is_not_computed_as_the_gpu_would(of_gpu, monkeypatch):
    native = torch.cpu.get_capabilities().get("avx512_bf16", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: of_gpu)
    assert resolve_precision("auto", "cpu") == ("bf16" if native else "32")
    assert resolve_precision("auto", "cuda") == ("bf16" if of_gpu else "32")


def test_trainings_side_by_side_take_the_gpus_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert turn_of(3) == {}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for visible, names in (("", "010"), ("5,7", "575")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert [turn_of(number)["CUDA_VISIBLE_DEVICES"] for number in range(3)] == list(names)
