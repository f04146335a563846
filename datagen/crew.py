"""Who does the work: processes on this machine, or the workers of a Dask cluster."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from datagen.errors import InputError
from datagen.progress import track

Result = TypeVar("Result")


class Crew:
    """Workers that stay for several rounds of jobs; use it as a context manager."""

    def __init__(self, workers: int, cluster: str | None = None) -> None:
        """Take `workers` processes of this machine, or all workers of the cluster at an address.

        Raises InputError where no scheduler answers, or Dask is not installed.
        """
        self._stack = contextlib.ExitStack()
        self._workers = workers
        if cluster:
            self._stack.enter_context(_connected(cluster))
            self._stack.enter_context(parallel_config(backend="dask"))
            self._workers = -1

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(
        self, function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], text: str
    ) -> list[Result]:
        """Call the function with each tuple of arguments; results come in the order of the jobs.

        Each call has one thread: what it computes does not depend on the number of cores. A job
        whose worker is lost is given to another one by the cluster.
        """
        workers = Parallel(n_jobs=self._workers, return_as="generator")
        done = workers(delayed(_alone)(function, job) for job in jobs)
        return list(track(done, text, len(jobs)))


def _alone(function: Callable[..., Result], job: tuple[Any, ...]) -> Result:
    with threadpool_limits(1):
        return function(*job)


def _connected(cluster: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "--cluster needs Dask; install it with: pip install 'lesionwise[cluster]'"
        ) from error
    try:
        return Client(cluster, timeout="5s")  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise InputError(
            f"--cluster {cluster}: no Dask scheduler answers there; give tcp://host:port"
        ) from error
