"""A Dask cluster as its users start it, of processes of this machine, for tests."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from distributed import Client

from sampler_parity.build.installation import REPOSITORY
from sampler_parity.build.processor import LEVEL

STARTING = 120
"""Seconds within which a worker is there."""

SAYS_WHERE = "Scheduler at:"
"""What stands in the scheduler's log before its address."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process, and the thread that reads what it says, so that it never waits for a reader."""

    process: "subprocess.Popen[str]"
    reader: threading.Thread

    def kill(self) -> None:
        """End it as if its machine had lost its power."""
        self.process.kill()
        self.process.wait()
        self.reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@dataclass(slots=True)
class Processes:
    """A scheduler, and its workers by name.

    Attributes:
        address: the scheduler's.
    """

    address: str = ""
    _scheduler: Running | None = None
    _workers: dict[str, Running] = field(default_factory=dict)

    def start_scheduler(self) -> None:
        """Start a scheduler: at a port that the system chooses, or where one was before."""
        port = self.address.rpartition(":")[2] or "0"
        process = _started("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
        assert process.stderr is not None
        for line in process.stderr:
            if SAYS_WHERE in line:
                self.address = line.split()[-1]
                break
        self._scheduler = _read(process)

    def start_worker(self, name: str, capability: str) -> None:
        """Start a worker of one thread, whose torch is at ``capability``, for one of its name."""
        if name in self._workers:
            self.kill_worker(name)
        arguments = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", name)
        process = _started("worker", self.address, *arguments, **{LEVEL: capability})
        self._workers[name] = _read(process)

    def wait_for_workers(self) -> None:
        """Wait until the scheduler knows all workers."""
        with Client(self.address, timeout=STARTING, set_as_default=False) as client:
            client.wait_for_workers(len(self._workers), timeout=STARTING)

    def kill_worker(self, name: str) -> None:
        """End a worker."""
        self._workers.pop(name).kill()

    def kill_scheduler(self) -> None:
        """End the scheduler."""
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            scheduler.kill()

    def kill_all(self) -> None:
        """End everything."""
        for name in list(self._workers):
            self.kill_worker(name)
        self.kill_scheduler()


def _started(kind: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "dask", kind, *arguments],
        env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _read(process: "subprocess.Popen[str]") -> Running:
    assert process.stderr is not None
    reader = threading.Thread(target=process.stderr.read, daemon=True)
    reader.start()
    return Running(process, reader)


@contextmanager
def cluster_of_processes() -> Iterator[Processes]:
    """Give a scheduler without workers; at the end, nothing of it is left."""
    processes = Processes()
    try:
        processes.start_scheduler()
        yield processes
    finally:
        processes.kill_all()
