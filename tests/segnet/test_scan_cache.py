import resource
from pathlib import Path

import numpy as np
import pytest

from datagen.cohort import read_cohort
from datagen.errors import InputError
from segnet.data import read_labelled_cases
from segnet.scan_cache import cached_case, read_cached_cases


def test_a_cached_case_is_the_case(tiny_cohort, tmp_path):
    cases = read_cohort(tiny_cohort)[:2]
    read = read_labelled_cases(cases, 1.0, 2)
    for _ in range(2):  # made, and read again
        for direct, cached in zip(read, read_cached_cases(cases, 1.0, 2, tmp_path), strict=True):
            for name in ("time1", "time2", "brain", "truth"):
                kept = getattr(cached.scans, name)
                assert isinstance(kept, np.memmap)
                assert np.array_equal(kept, getattr(direct.scans, name))
            assert np.array_equal(cached.labels, direct.labels)
            assert np.array_equal(cached.whole, direct.whole)
            assert cached.box == direct.box
            assert cached.scans.grid.shape == direct.scans.grid.shape
            assert np.array_equal(cached.scans.grid.affine, direct.scans.grid.affine)


def test_scans_are_not_read_a_second_time(tiny_cohort, tmp_path, monkeypatch):
    case = read_cohort(tiny_cohort)[0]
    cached_case(tmp_path, case, 1.0, 2)
    monkeypatch.setattr("segnet.scan_cache.read_labelled_case", None)
    assert cached_case(tmp_path, case, 1.0, 2).labels.any()


def test_another_spacing_is_another_entry(tiny_cohort, tmp_path):
    case = read_cohort(tiny_cohort)[0]
    fine, coarse = (cached_case(tmp_path, case, mm, 2) for mm in (1.0, 2.0))
    assert fine.labels.shape != coarse.labels.shape
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_another_truth_is_another_entry(tiny_cohort, tmp_path):
    case = read_cohort(tiny_cohort)[0]
    cached_case(tmp_path, case, 1.0, 2)
    assert not cached_case(tmp_path, case._replace(truth=None), 1.0, 2).labels.any()


def test_a_damaged_entry_is_named(tiny_cohort, tmp_path):
    case = read_cohort(tiny_cohort)[0]
    cached_case(tmp_path, case, 1.0, 2)
    next(tmp_path.glob("*-time1.npy")).write_bytes(b"no array")
    with pytest.raises(InputError, match="are damaged; delete them"):
        cached_case(tmp_path, case, 1.0, 2)


def test_a_cache_of_more_files_than_may_be_open_is_not_called_damaged(tiny_cohort, tmp_path):
    case = read_cohort(tiny_cohort)[0]
    cached_case(tmp_path, case, 1.0, 2)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 2, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            cached_case(tmp_path, case, 1.0, 2)
        (read,) = read_cached_cases([case], 1.0, 2, tmp_path)  # which raises the limit
        assert read.scans.truth.any()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > opened + 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_a_folder_nothing_is_written(tiny_cohort, tmp_path):
    assert len(read_cached_cases(read_cohort(tiny_cohort)[:1], 1.0, 2, None)) == 1
    assert not list(tmp_path.iterdir())
