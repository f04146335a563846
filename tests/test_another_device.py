"""Nothing that a GPU computes is mixed with what lies on the CPU: on a pretended device."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = Path(__file__).with_name("another_device.py")


@pytest.fixture(scope="module")
def ended(tiny_pairs) -> dict[str, str]:
    """What each check ended in: nothing, or an error."""
    words = [sys.executable, str(_PROGRAM), str(tiny_pairs)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "check",
    [
        "mixed_devices",
        "learned_loss",
        "losses_of_training",
        "networks",
        "prediction",
        "training_of_the_estimator",
        "agreement_report",
    ],
)
def test_it_computes_on_another_device_what_it_does_on_the_cpu(check, ended):
    assert ended[check] == ""
