from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

CASES = ("bin1", "bin4", "bin_aniso", "bin_empty")


class OracleCase(NamedTuple):
    """Inputs of one case, in float64, and what other programs make of them."""

    name: str
    arrays: dict[str, np.ndarray]

    @property
    def truth(self) -> Tensor:
        label = torch.from_numpy(self.arrays["label"]).double()
        return torch.cat([1 - label, label], 1)

    @property
    def logits(self) -> Tensor:
        return torch.from_numpy(self.arrays["logits_x256"] / 256.0).requires_grad_()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        x, y, z = (float(edge) for edge in self.arrays["spacing"])
        return (x, y, z)

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key].astype(np.float64))


@pytest.fixture(params=CASES)
def oracle(request: pytest.FixtureRequest, shared: Path) -> OracleCase:
    """Each case of values that the authors' own programs produced."""
    with np.load(shared / f"oracle/losses/{request.param}.npz") as file:
        return OracleCase(request.param, dict(file))


@pytest.fixture
def agrees(oracle: OracleCase) -> Callable[..., None]:
    """Check value and sampled gradient: agrees(key, loss of the logits, relative=1e-5)."""

    def check(key: str, loss: Callable[[Tensor], Tensor], relative: float = 1e-5) -> None:
        logits = oracle.logits
        value = loss(logits)
        wanted = float(oracle.arrays[f"v|{key}"])
        assert value.item() == pytest.approx(wanted, rel=relative, abs=1e-12)
        if f"g|{key}" in oracle.arrays:
            value.backward()
            found = logits.grad.flatten()[oracle.arrays["grad_index"]].numpy()
            gradient = oracle.arrays[f"g|{key}"]
            # the gradients were stored in float32
            np.testing.assert_allclose(found, gradient, rtol=1e-5, atol=2e-6 * abs(gradient).max())

    return check
