"""Trained networks on disk: run folders, and single files that can be passed on."""

import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from datagen.errors import InputError
from metricnet import runs
from metricnet.weights import Kind, read_weights, write_weights
from segnet.config import Network, TrainSettings
from segnet.operating_point import OperatingPoint, parse_point, read_point
from segnet.unet import TwoVisitUNet, build_unet

SCHEMA = 1
_KIND = Kind("a detector", "architecture", SCHEMA, "segnet export")


class Architecture(NamedTuple):
    """What a network is, and the patches (voxels) and spacing (mm) that it was trained on."""

    network: Network
    channels: int
    classes: int
    patch: int
    spacing_mm: float

    @classmethod
    def of(cls, settings: TrainSettings) -> "Architecture":
        """The network of a training."""
        return cls(*(getattr(settings, name) for name in cls._fields))


class Detector(NamedTuple):
    """A trained network, ready to predict, and where its lesions begin, if that was chosen.

    With `matches_visits` it is shown visit 1 in the intensities of visit 2: see `match_visits`.
    """

    name: str
    network: TwoVisitUNet
    architecture: Architecture
    point: OperatingPoint | None
    matches_visits: bool = False


def load_detector(path: Path) -> Detector:
    """Read a detector from a file of `save_detector`, or from the run folder of a training.

    Nothing is unpickled but tensors. Raises InputError where there is none, or it is broken.
    """
    if path.is_dir():
        architecture = Architecture.of(runs.read_config(path, "segnet.train", TrainSettings))
        weights = runs.best_weights(path)
        named = {name.removeprefix("network."): weight for name, weight in weights.items()}
        try:
            network = _restore(architecture, named)
        except RuntimeError as error:
            raise InputError(
                f"{path}: the checkpoint is not of the network in its config.toml"
            ) from error
        return Detector(str(path), network, architecture, read_point(path))
    metadata, weights = read_weights(path, _KIND)
    try:
        architecture = Architecture.of(TrainSettings(cohort=Path(), **metadata["architecture"]))
        point = metadata["operating_point"]
        network = _restore(architecture, weights)
        is_matched = bool(metadata.get("matches_visits", False))
        return Detector(str(path), network, architecture, point and parse_point(point), is_matched)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} does not fit this version; write it again") from error


def load_pretrained() -> Detector:
    """Read the detector that comes with the package; for research only, see its model card."""
    with resources.as_file(
        resources.files("segnet") / "pretrained" / "detector.safetensors"
    ) as path:
        return load_detector(path)._replace(name="the detector that comes with lesionwise")


def fingerprint(detectors: Sequence[Detector]) -> str:
    """Checksum of the weights of networks, wherever they were read from; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for detector in detectors:
        for name, weight in detector.network.state_dict().items():
            digest.update(name.encode())
            digest.update(weight.cpu().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def save_detector(path: Path, detector: Detector, dtype: torch.dtype = torch.float16) -> None:
    """Write weights, and what else a detector is, into one safetensors file, whole or not.

    Raises InputError where a weight is not finite, or too large for the type.
    """
    metadata = {
        "schema": SCHEMA,
        "architecture": detector.architecture._asdict(),
        "operating_point": detector.point._asdict() if detector.point else None,
        "matches_visits": detector.matches_visits,
    }
    write_weights(path, detector.network, metadata, dtype)


def _restore(architecture: Architecture, weights: dict[str, Tensor]) -> TwoVisitUNet:
    network = build_unet(architecture.network, architecture.channels, architecture.classes)
    network.load_state_dict(weights)
    return network.eval()
