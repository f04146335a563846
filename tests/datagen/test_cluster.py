"""A build on a real Dask scheduler with two worker processes."""

import sys
import threading
import time

import pytest

from datagen.build import BuildSettings, build
from datagen.crew import Crew
from datagen.errors import InputError

distributed = pytest.importorskip("distributed")


@pytest.fixture
def cluster():
    """A scheduler and two worker processes of one thread each."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as started:
        yield started


def settings_for(masks, out, **changes):
    common = {"pairs": 510, "patch": 16, "workers": 1, "validation_fraction": 0.3}
    return BuildSettings(masks=(masks,), out=out, **{**common, **changes})


def test_a_cluster_that_loses_a_worker_writes_the_same_bytes(masks, three_parts, cluster, tmp_path):
    parts = tmp_path / "there.h5.parts"

    def lose_a_worker():
        while not list(parts.glob("0*0.h5")):
            time.sleep(0.005)
        worker = next(iter(cluster.workers.values()))
        worker.process.process._process.kill()

    loss = threading.Thread(target=lose_a_worker)
    loss.start()
    build(settings_for(masks, tmp_path / "there.h5", cluster=cluster.scheduler_address))
    loss.join()
    assert (tmp_path / "there.h5").read_bytes() == three_parts.read_bytes()


def test_an_address_without_a_scheduler_is_refused(masks, tmp_path):
    with pytest.raises(InputError, match="no Dask scheduler answers there"):
        Crew(1, "tcp://127.0.0.1:9")


def test_a_cluster_without_dask_is_refused_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'lesionwise\[cluster\]'"):
        Crew(1, "tcp://127.0.0.1:9")
