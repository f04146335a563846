"""A training that starts from the network of another one."""

from pathlib import Path

from torch import nn

from datagen.errors import InputError
from metricnet import runs
from segnet.config import TrainSettings


def start_from(network: nn.Module, run: Path, settings: TrainSettings) -> None:
    """Give a network the best weights of another run, in place, whatever that one learnt.

    The course of the rate, the optimiser's memory and the draws begin anew. Raises InputError where
    the folder holds no run, or one of another network, width or number of classes.
    """
    other = runs.read_config(run, "segnet.train", TrainSettings)
    for name in ("network", "channels", "classes"):
        theirs, ours = getattr(other, name), getattr(settings, name)
        if theirs != ours:
            raise InputError(
                f"--init-from {run} was trained with {name} {theirs}, but this training has "
                f"{ours}; give --{name} {theirs}"
            )
    load_weights(network, run)


def load_weights(network: nn.Module, run: Path) -> None:
    """Give a network the best weights of a run, in place.

    Raises InputError where the run has none yet, or where they are of another network.
    """
    weights = runs.best_weights(run)
    named = {name.removeprefix("network."): weight for name, weight in weights.items()}
    try:
        network.load_state_dict(named)
    except RuntimeError as error:
        raise InputError(
            f"{run}: the checkpoint is not of the network in its config.toml"
        ) from error
