"""Weights on disk: one safetensors file with a note in JSON beside them; nothing is unpickled."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from datagen.errors import InputError
from datagen.files import require_file, whole_file

_KEY = "lesionwise"


def write_weights(path: Path, module: nn.Module, note: dict[str, Any], dtype: torch.dtype) -> None:
    """Write a module's weights, floating ones as `dtype`, and a note, whole or not at all.

    Raises InputError where a weight is not finite, or too large for the type.
    """
    weights = {
        name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in module.state_dict().items()
    }
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise InputError(f"{path}: a weight is not finite as {dtype}; train again")
    with whole_file(path) as partial:
        partial.write_bytes(save(weights, {_KEY: json.dumps(note, sort_keys=True)}))


class Kind(NamedTuple):
    """What a file of weights holds: a name with its article, and the command that writes it.

    Its note has a schema, and a key that no other kind has.
    """

    name: str
    key: str
    schema: int
    command: str


def read_weights(path: Path, kind: Kind) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the note and the weights of a file.

    Raises InputError where it is missing, of another kind, or of another schema.
    """
    try:
        with safe_open(require_file(path), framework="pt") as file:
            note = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if not isinstance(note, dict):
            raise ValueError(f"its note is a {type(note).__name__}")
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path} is not {kind.name} ({error})") from error
    if kind.key not in note:
        raise InputError(f"{path} is not {kind.name}; '{kind.command}' writes one")
    if note.get("schema") != kind.schema:
        raise InputError(
            f"{path}: {kind.name} of schema {kind.schema} expected, found {note.get('schema')}; "
            f"write it again with '{kind.command}'"
        )
    return note, weights
