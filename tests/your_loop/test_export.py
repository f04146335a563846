"""The estimator exported, as docs/your_loop.md shows it, estimates what it does itself."""

import pytest
import torch

EDGE = 32


@pytest.fixture(scope="module")
def exported(run_block, estimator, tmp_path_factory) -> dict:
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


def test_the_published_form_is_exported_with_a_free_batch(exported, lively):
    published = lively("published")
    program = exported["export"](published, EDGE).module()
    maps = some_maps(3, EDGE, EDGE, EDGE)
    assert torch.allclose(program(*maps), published(*maps), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_onnx_estimates_what_the_estimator_does_at_any_size(
    run_block, exported, estimator, tmp_path, monkeypatch
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
