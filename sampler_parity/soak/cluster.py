"""The Dask cluster whose workers compare leases: what is asked of it, and how it is lost.

Only here is Dask imported, and only where a soak is made.
"""

import queue
import time
from dataclasses import dataclass
from typing import Any

from sampler_parity.build.installation import how_to_install
from sampler_parity.model.errors import CannotJudgeError, not_importable

CONNECTING = 5.0
"""Seconds that one attempt to connect may take."""

FETCHING = 60.0
"""Seconds that a result may take to come from its worker."""

HOW_TO_START = (
    "start one with `dask scheduler`, and `dask worker ADDRESS --nthreads 1` on every machine, "
    "then name the scheduler's address: --cluster tcp://HOST:8786"
)

KEY = "soak"
"""What the names of tasks begin with, as Dask's dashboard shows them."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended.

    Attributes:
        name: the task's.
        result: what it gave; ``None`` if it gave nothing.
        error: what it raised; ``None`` where the task, or its result, was lost with its worker or
            with the scheduler.
    """

    name: str
    result: bytes | None = None
    error: BaseException | None = None


class WorkCluster:
    """A Dask cluster, reached by its scheduler's address; close it at the end."""

    def __init__(self, address: str) -> None:
        """Name the cluster by its scheduler's address.

        Raises:
            CannotJudgeError: Dask is not installed.
        """
        try:
            import distributed
        except ImportError as error:
            raise CannotJudgeError(
                f"a soak needs Dask: {how_to_install('soak')}, on every machine"
            ) from error
        self._dask = distributed
        self._address = address
        self._client: Any = None
        self._ended: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._futures: dict[str, Any] = {}
        self._numbered = 0

    def close(self) -> None:
        """Leave the cluster; what it still does for this client, it drops."""
        client, self._client = self._client, None
        if client is not None:
            client.close(timeout=CONNECTING)

    def connect(self) -> bool:
        """Say whether the scheduler can be reached, after an attempt if it is needed.

        Raises:
            CannotJudgeError: the address is none.
        """
        if self._client is not None and self._client.status == "running":
            return True
        self.close()
        try:
            self._client = self._dask.Client(
                self._address, timeout=CONNECTING, set_as_default=False, name="sampler-parity-soak"
            )
        except OSError:
            return False
        except ValueError as error:
            raise CannotJudgeError(
                f"--cluster {self._address!r}: {error}; {HOW_TO_START}"
            ) from error
        return True

    @property
    def dashboard(self) -> str:
        """Where the cluster shows what it does; empty where it does not."""
        try:
            return "" if self._client is None else str(self._client.dashboard_link)
        except (OSError, KeyError, ValueError):
            return ""

    def threads(self) -> int:
        """Count the threads of all workers; none where the scheduler does not answer."""
        if self._client is None or self._client.status != "running":
            return 0
        try:
            return sum(self._client.nthreads().values())
        except (OSError, self._dask.TimeoutError):
            return 0

    def submit(self, name: str, order: bytes) -> str:
        """Have a worker carry it out, and give the task's name; Dask asks another if it dies."""
        assert self._client is not None
        self._numbered += 1
        key = f"{KEY}-{name}-{self._numbered}"
        future = self._client.submit(on_worker, order, key=key, pure=False)
        self._futures[key] = future
        future.add_done_callback(lambda done: self._ended.put((key, done)))
        return key

    def ended(self, seconds: float) -> Ended | None:
        """Wait for the next task that ends, for no more than ``seconds``."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                key, future = self._ended.get(timeout=left)
            except queue.Empty:
                return None
            if self._futures.pop(key, None) is not None:
                return self._taken(key, future)
        return None

    def forget(self) -> list[str]:
        """Expect none of the tasks any more that were submitted; give their names."""
        names = list(self._futures)
        self._futures.clear()
        return names

    def _taken(self, key: str, future: Any) -> Ended:
        if future.status == "error":
            return Ended(key, error=future.exception(timeout=FETCHING))
        if future.status != "finished":
            return Ended(key)
        try:
            return Ended(key, future.result(timeout=FETCHING))
        except (OSError, self._dask.TimeoutError, self._dask.client.FutureCancelledError):
            return Ended(key)


def on_worker(order: bytes) -> bytes:
    """Carry out an order in a worker of the cluster."""
    from distributed import get_worker

    from sampler_parity.soak.work import carry_out

    return carry_out(order, str(get_worker().name))


def no_judgement(error: BaseException) -> CannotJudgeError | None:
    """Give why no worker like that one can judge; ``None`` where another attempt may do."""
    if isinstance(error, CannotJudgeError):
        return error
    if isinstance(error, ImportError):
        return CannotJudgeError(f"on a worker, {not_importable(error)}")
    return None
