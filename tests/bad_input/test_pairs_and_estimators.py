"""Pair files, the masks behind them, and estimators that cannot be used."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save

from metricnet.checkpoint import load_estimator, save_estimator
from metricnet.estimator import LesionEstimator

BUILD = "datagen build --out new.h5 --masks"
FIT = "metricnet train --out new --pairs pairs.h5"
TRAIN = "segnet train --cohort cohort --out new --estimator"
EVALUATE = "metricnet evaluate --pairs pairs.h5 --out new --estimator"

METADATA = (
    '{"schema": 1, "form": "structured", "held_out": {}, "agreement": {"rule": "overlap", '
    '"connectivity": 26, "min_volume_mm3": 0.0, "spacing_mm": 1.0, "patch": 32}}'
)


def estimator(metadata, **changed):
    weights = load_estimator("estimator.safetensors").estimator.state_dict()
    kept = {name: tensor.contiguous() for name, tensor in weights.items()}
    return save({**kept, **changed}, None if metadata is None else {"lesionwise": metadata})


ESTIMATORS = {
    "is text": lambda: b"no network",
    "is cut off": lambda: estimator(METADATA)[:20000],
    "is of another schema": lambda: estimator(METADATA.replace('"schema": 2', '"schema": 9')),
    "says nothing": lambda: estimator(None),
    "is of an unknown form": lambda: estimator(METADATA.replace("structured", "round")),
    "has other weights": lambda: estimator(METADATA, a=torch.zeros(2)),
}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_evaluate_refuses_an_estimator_that(kind, refuses):
    Path("bad.safetensors").write_bytes(ESTIMATORS[kind]())
    refuses(f"{EVALUATE} bad.safetensors", "bad.safetensors")


@pytest.mark.parametrize("path", ["none.safetensors", "cohort"])
def test_train_refuses_what_is_no_estimator(path, refuses):
    refuses(f"{TRAIN} {path}", path)


@pytest.mark.parametrize(("field", "ours", "value"), [("patch", 32, 16), ("spacing_mm", 1.0, 2.0)])
def test_train_and_evaluate_refuse_an_estimator_of_another(field, ours, value, refuses):
    saved = load_estimator("estimator.safetensors")
    other = saved._replace(agreement=saved.agreement._replace(**{field: value}))
    if field == "patch":  # the structured form takes patches of any size to train with
        other = other._replace(estimator=LesionEstimator("published", value))
    save_estimator(Path("other.safetensors"), other)
    named = ("other.safetensors", field, str(value), str(ours))
    refuses(f"{TRAIN} other.safetensors", *named)
    refuses(f"{EVALUATE} other.safetensors", "pairs.h5", *named)


# pair files


def edited(change):
    def edit(path):
        with h5py.File(path, "a") as file:
            change(file)

    return edit


def empty(file):
    for name in list(file):
        rows = file[name][:0]
        del file[name]
        file[name] = rows


PAIRS = {
    "is text": lambda path: path.write_text("no pairs"),
    "is of another schema": edited(lambda file: file.attrs.modify("schema", 99)),
    "has no probability": edited(lambda file: file.pop("probability")),
    "has no rule": edited(lambda file: file.attrs.pop("rule")),
    "has no pair": edited(empty),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_inspect_refuses_a_pair_file_that(kind, refuses):
    PAIRS[kind](Path("pairs.h5"))
    refuses("datagen inspect pairs.h5 --out new", "pairs.h5")


@pytest.mark.parametrize("command", [FIT, f"{EVALUATE} estimator.safetensors"])
def test_metricnet_refuses_what_is_no_pair_file(command, refuses):
    Path("pairs.h5").write_text("no pairs")
    refuses(command, "pairs.h5")


@pytest.mark.parametrize(
    ("command", "begun"),
    [
        ("datagen inspect pairs.h5 --out new", ""),
        (FIT, "new"),  # a training begins its run before it draws the first pair
    ],
)
def test_damage_inside_a_pair_file_is_named(command, begun, refuses):
    path = Path("pairs.h5")
    with h5py.File(path) as file:
        chunks = [file["truth"].id.get_chunk_info(index) for index in range(20)]
    content = bytearray(path.read_bytes())
    for chunk in chunks:
        content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xaa" * chunk.size
    path.write_bytes(content)
    refuses(command, "pairs.h5", "damaged", begun=begun)


def test_metricnet_refuses_pairs_of_one_split(refuses):
    with h5py.File("pairs.h5", "a") as file:
        file["split"][:] = b"train"
    refuses(FIT, "pairs.h5", "validation")
    refuses(f"{EVALUATE} estimator.safetensors", "pairs.h5", "validation")


# masks to build from


MASKS = {
    "three values": lambda mask: mask + (np.arange(32) < 4).astype(np.uint8) * 5,
    "no lesion": np.zeros_like,
}


@pytest.mark.parametrize("kind", MASKS)
def test_build_refuses_masks_with(kind, refuses, write, load):
    for number in range(2):
        write(Path(f"masks/{number}.nii.gz"), MASKS[kind](load("one/truth.nii.gz")))
    refuses(f"{BUILD} masks", "masks")


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("none", "none"),
        ("empty", "empty"),
        ("one/truth.nii.gz", "one patient"),
        ("damaged", "damaged/1.nii.gz"),
    ],
)
def test_build_refuses_a_source(source, named, refuses, write, load):
    Path("empty").mkdir()
    path = write(Path("damaged/0.nii.gz"), load("one/truth.nii.gz"))
    Path("damaged/1.nii.gz").write_bytes(path.read_bytes()[:150])
    refuses(f"{BUILD} {source}", named)


def test_build_refuses_parts_of_another_build(refuses):
    Path("new.h5.parts").mkdir()
    Path("new.h5.parts/plan.json").write_text("{}")
    refuses(f"{BUILD} cohort", "new.h5.parts", "--resume")
    refuses(f"{BUILD} cohort --resume", "new.h5.parts", "other settings")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--predictions none", ("none", "no predictions")),
        ("--predictions empty", ("empty", "no predictions")),
        ("--predictions broken", ("step0.h5", "cut off")),
        ("--predictions strange", ("odd_probability.nii.gz", "no case of --masks")),
        ("--cluster tcp://127.0.0.1:9", ("tcp://127.0.0.1:9", "no Dask scheduler")),
        ("--cluster nowhere", ("nowhere", "no Dask scheduler")),
        ("--empty-share 0.2", ("empty_share", "zero_share")),
        ("--contrast-share 0.9", ("--contrast-share", "0.9")),
        ("--styles wavy", ("--styles", "wavy")),
    ],
)
def test_build_refuses_the_flags(flags, named, refuses, write, load):
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/step0.h5").write_bytes(b"no")
    write(Path("strange/odd_probability.nii.gz"), load("one/truth.nii.gz"))
    refuses(f"{BUILD} cohort {flags}", *named)
