"""A training that starts from the network of another one."""

from pathlib import Path

from torch import nn

from datagen.errors import InputError
from segnet.config import TrainSettings
from segnet.detector import load_detector


def start_from(network: nn.Module, origin: Path, settings: TrainSettings) -> None:
    """Give a network the weights of a run's best one or of a file, in place.

    The course of the rate, the optimiser's memory and the draws begin anew. Raises InputError where
    there is no network, or one of another form, width or number of classes.
    """
    other = load_detector(origin)
    for name in ("network", "channels", "classes"):
        theirs, ours = getattr(other.architecture, name), getattr(settings, name)
        if theirs != ours:
            raise InputError(
                f"--init-from {origin} was trained with {name} {theirs}, but this training has "
                f"{ours}; give --{name} {theirs}"
            )
    network.load_state_dict(other.network.state_dict())
