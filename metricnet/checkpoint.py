"""Estimators on disk: safetensors weights and what they were trained for; nothing is unpickled."""

from contextlib import AbstractContextManager
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from datagen.errors import InputError
from datagen.lesions import Rule
from datagen.store import Agreement
from metricnet.config import Form
from metricnet.estimator import LesionEstimator
from metricnet.weights import Kind, read_weights, write_weights

SCHEMA = 2
FILE_NAME = "estimator.safetensors"
_KIND = Kind("an estimator", "form", SCHEMA, "metricnet train")


class SavedEstimator(NamedTuple):
    """An estimator, the definitions behind its labels, and its held-out agreement."""

    estimator: LesionEstimator
    agreement: Agreement
    held_out: dict[str, Any]

    @property
    def takes_any_patch(self) -> bool:
        """Whether it estimates patches of any size: the published form has a head for one alone."""
        return self.estimator.form == "structured"

    def require(self, found: Agreement, mine: str, theirs: str) -> None:
        """Raise InputError that names the first definition which it does not share."""
        own = self.agreement._replace(patch=found.patch) if self.takes_any_patch else self.agreement
        own.require(found, mine, theirs)


def save_estimator(path: Path, saved: SavedEstimator, dtype: torch.dtype = torch.float32) -> None:
    """Write weights, form, definitions and held-out agreement into one safetensors file."""
    metadata = {
        "schema": SCHEMA,
        "form": saved.estimator.form,
        "agreement": saved.agreement._asdict(),
        "held_out": saved.held_out,
    }
    write_weights(path, saved.estimator, metadata, dtype)


def estimator_file(path: Path) -> Path:
    """Return the file of an estimator, or of the run folder in which it lies."""
    return path / FILE_NAME if path.is_dir() else path


def load_estimator(path: str | Path) -> SavedEstimator:
    """Read an estimator from its file, or from the folder of the run that trained it.

    Raises InputError where there is none, the file is broken, or its schema is another.
    """
    path = estimator_file(Path(path))
    metadata, weights = read_weights(path, _KIND)
    try:
        return _restore(metadata, weights)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} does not fit this version; train it again") from error


def load_pretrained(rule: Rule = "overlap") -> SavedEstimator:
    """Read the estimator that comes with the package, trained on scores under a rule.

    Raises InputError where none was trained under it.
    """
    with pretrained_file(rule) as path:
        return load_estimator(path)


def pretrained_file(rule: Rule = "overlap") -> AbstractContextManager[Path]:
    """Open the file that `load_pretrained` reads, for as long as the context lasts."""
    folder = resources.files("metricnet") / "pretrained"
    known = sorted(item.name for item in folder.iterdir() if item.name.endswith(".safetensors"))
    if f"{rule}.safetensors" not in known:
        names = ", ".join(name.removesuffix(".safetensors") for name in known)
        raise InputError(
            f"no estimator for rule '{rule}' comes with the package (there is: {names}); train one "
            "with 'metricnet train'"
        )
    return resources.as_file(folder / f"{rule}.safetensors")


def _restore(metadata: dict[str, Any], weights: dict[str, Tensor]) -> SavedEstimator:
    agreement = Agreement(**metadata["agreement"])
    if metadata["form"] not in get_args(Form) or not all(
        w.isfinite().all() for w in weights.values()
    ):
        raise ValueError("the form is unknown, or a weight is not finite")
    estimator = LesionEstimator(metadata["form"], agreement.patch)
    estimator.load_state_dict(weights)
    return SavedEstimator(estimator.eval(), agreement, metadata["held_out"])
