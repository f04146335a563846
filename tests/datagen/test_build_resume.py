import shutil
import time

import h5py
import numpy as np
import pytest

from datagen.build import BuildSettings, build
from datagen.errors import InputError
from datagen.store import PairFile


def settings_for(masks, out, **changes):
    """Settings that go on with the build that was killed."""
    begun = {"pairs": 260, "patch": 16, "workers": 1, "validation_fraction": 0.3}
    return BuildSettings(masks=(masks,), out=out, **{**begun, "resume": True, **changes})


@pytest.fixture(scope="module")
def killed(masks, tmp_path_factory, start):
    """What a build of 260 pairs leaves when its process is killed after the first part."""
    out = tmp_path_factory.mktemp("killed") / "pairs.h5"
    options = "--pairs 260 --patch 16 --workers 1 --validation-fraction 0.3"
    process = start("datagen", "build", "--masks", masks, "--out", out, *options.split())
    while not (out.with_name("pairs.h5.parts") / "000000000.h5").is_file():
        assert process.is_alive()
        time.sleep(0.005)
    process.kill()
    process.join()
    assert not out.exists()
    return out.parent


@pytest.fixture
def interrupted(killed, tmp_path):
    """A copy of the killed build; returns the path of its output."""
    shutil.copytree(killed, tmp_path / "run")
    return tmp_path / "run" / "pairs.h5"


def test_a_killed_build_resumes_to_the_same_bytes(masks, interrupted, two_parts):
    build(settings_for(masks, interrupted))
    assert interrupted.read_bytes() == two_parts.read_bytes()
    assert [path.name for path in interrupted.parent.iterdir()] == ["pairs.h5"]


def test_a_resumed_build_uses_the_parts_that_are_there(masks, interrupted):
    part = interrupted.with_name("pairs.h5.parts") / "000000000.h5"
    with h5py.File(part, "r+") as file:
        file["case"][:] = b"kept"
    build(settings_for(masks, interrupted))
    with PairFile(interrupted) as file:
        is_kept = file.column("case") == "kept"
    assert is_kept[:250].all()
    assert not is_kept[250:].any()


def test_an_interrupted_build_is_not_overwritten(masks, interrupted):
    with pytest.raises(InputError, match=r"parts holds an interrupted build; add --resume"):
        build(settings_for(masks, interrupted, resume=False))


@pytest.mark.parametrize("change", [{"seed": 1}, {"pairs": 255}, {"rule": "geo"}])
def test_parts_of_other_settings_are_refused(masks, interrupted, change):
    with pytest.raises(InputError, match="begun with other settings or masks"):
        build(settings_for(masks, interrupted, **change))


def test_parts_of_other_masks_are_refused(masks, interrupted, tmp_path, save):
    shutil.copytree(masks, tmp_path / "masks")
    save(np.ones((4, 4, 4), bool), tmp_path / "masks" / "patient0.nii.gz")
    with pytest.raises(InputError, match="begun with other settings or masks"):
        build(settings_for(tmp_path / "masks", interrupted))


def test_resuming_what_never_began_begins_it(masks, tmp_path):
    assert build(settings_for(masks, tmp_path / "pairs.h5", pairs=10)) == 10


def test_a_build_that_was_killed_while_it_read_the_masks_begins_anew(masks, interrupted, two_parts):
    for path in interrupted.with_name("pairs.h5.parts").glob("*.json"):
        path.unlink()
    build(settings_for(masks, interrupted))
    assert interrupted.read_bytes() == two_parts.read_bytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_build_to_the_same_place_draws_from_its_own_masks(masks, tmp_path, workers):
    out = tmp_path / "pairs.h5"
    for names in (("patient0", "patient1"), ("patient2", "patient3")):
        folder = tmp_path / "-".join(names)
        folder.mkdir()
        for name in names:
            shutil.copy(masks / f"{name}.nii.gz", folder)
        build(settings_for(folder, out, pairs=40, workers=workers, resume=False))
        with PairFile(out) as file:
            assert set(file.column("case")) == set(names)
        out.unlink()


@pytest.mark.parametrize("resume", [False, True])
def test_a_pair_file_is_not_overwritten(masks, tmp_path, resume):
    out = tmp_path / "pairs.h5"
    out.write_bytes(b"hours of work")
    with pytest.raises(
        InputError, match=r"pairs\.h5 is there already; delete it, or choose another"
    ):
        build(settings_for(masks, out, resume=resume))
    assert out.read_bytes() == b"hours of work"


def test_a_build_killed_before_it_cleared_up_can_resume(masks, interrupted, two_parts):
    shutil.copy(two_parts, interrupted)
    build(settings_for(masks, interrupted))
    assert interrupted.read_bytes() == two_parts.read_bytes()
    assert not interrupted.with_name("pairs.h5.parts").exists()


def test_a_build_that_cannot_draw_a_pair_leaves_nothing_behind(masks, tmp_path, monkeypatch):
    def draw_nothing(*_):
        raise InputError("no pair can be drawn")

    monkeypatch.setattr("datagen.build.draw_part", draw_nothing)
    with pytest.raises(InputError, match="no pair can be drawn"):
        build(settings_for(masks, tmp_path / "pairs.h5", resume=False))
    assert not list(tmp_path.iterdir())
