"""What is timed from Python: the port, its reference, and peers, on the same logits."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch

import python_ref
import rust_ext
from benchmarks.gaussian import SEED, gaussian
from benchmarks.peers import Draw, Sampler, check_possible
from benchmarks.timing import Budget, Contestant, measure, ratio
from python_ref import GLOBAL, SEMANTIC
from sampler_parity.cases.fixtures import real_logits
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run.benchmark_file import ALL_THREADS, ONE_THREAD, Side, Timing, Work

BATCHES = (1, 8, 64)
VOCABULARIES = (32_000, 49_152, 65_536, 128_256, 151_936)
CHECKED = 16
RECORDED = 49_152
"""Tokens of a recorded row."""
REAL_BF16 = "real bf16"
DRAWN = 256
PORT = "port"

Rows = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True)
class Workload:
    """One comparison.

    Attributes:
        work: the call.
        reference: given a call's number, makes ready a call of the reference.
        port: the same of the port, given how many threads it replays and uses; with ``None``, it
            replays one and uses all.
        same_state: whether both generators are in the same state.
        batches: the logits, f32 [B, V] each, for peers; empty where none does this.
    """

    work: Work
    reference: Callable[[int], Callable[[], torch.Tensor]]
    port: Callable[[int, int | None], Callable[[], Tokens | torch.Tensor]]
    same_state: Callable[[], bool]
    batches: list[Rows]


def distinct(batch: int) -> int:
    """Give how many batches are made: a call does not see the logits of the one before it."""
    return max(8 // batch, 2)


def real(vocab: int) -> list[Rows]:
    """Take rows [1, vocab] of the recorded logits."""
    recorded = real_logits()
    chosen = np.linspace(0, len(recorded) - 1, distinct(1)).astype(int)
    return [recorded[row : row + 1, :vocab].copy() for row in chosen]


def logits_of(work: Work) -> list[Rows]:
    """Make or take the logits of a call."""
    if work.logits == "real":
        return real(work.vocab)
    return gaussian(work.vocab, work.batch, distinct(work.batch))


def sample(work: Work) -> Workload:
    """Compare ``sample_logits``, or ``draw`` with as many of its calls."""
    batches = logits_of(work)
    tensors = [torch.from_numpy(batch) for batch in batches]
    theirs, ours = torch.Generator().manual_seed(SEED), rust_ext.Generator(SEED)
    parameters = (work.temperature, work.top_p, work.top_k)

    def reference(number: int) -> Callable[[], torch.Tensor]:
        tensor = tensors[number // max(work.drawn, 1) % len(tensors)]
        return lambda: python_ref.sample_logits(tensor, *parameters, generator=theirs)

    def port(number: int, threads: int | None) -> Callable[[], Tokens]:
        batch = batches[number % len(batches)]
        if work.drawn:
            return lambda: rust_ext.draw(
                batch[0], work.drawn, *parameters, generator=ours, threads=threads
            )
        return lambda: rust_ext.sample_logits(batch, *parameters, generator=ours, threads=threads)

    return Workload(
        work,
        reference,
        port,
        lambda: _state(theirs) == ours.get_state(),
        # Peers are called at temperature 1.
        [] if work.drawn or work.temperature != 1.0 else batches,
    )


def with_tensors(work: Work) -> Workload:
    """Compare ``sample_logits_torch``, of recorded logits as they are or as bf16."""
    tensors = [torch.from_numpy(batch) for batch in real(work.vocab)]
    if work.logits == REAL_BF16:
        tensors = [tensor.bfloat16() for tensor in tensors]
    theirs, ours = torch.Generator().manual_seed(SEED), torch.Generator().manual_seed(SEED)
    parameters = (work.temperature, work.top_p, work.top_k)

    def reference(number: int) -> Callable[[], torch.Tensor]:
        tensor = tensors[number % len(tensors)]
        return lambda: python_ref.sample_logits(tensor.float(), *parameters, generator=theirs)

    def port(number: int, threads: int | None) -> Callable[[], torch.Tensor]:
        tensor = tensors[number % len(tensors)]
        return lambda: rust_ext.sample_logits_torch(
            tensor, *parameters, generator=ours, threads=threads
        )

    return Workload(work, reference, port, lambda: _state(theirs) == _state(ours), [])


def simple(work: Work) -> Workload:
    """Compare ``simple_batch_sampler``; the copy that it works in is not timed."""
    batches = logits_of(work)
    theirs, ours = torch.Generator().manual_seed(SEED), rust_ext.Generator(SEED)

    def reference(number: int) -> Callable[[], torch.Tensor]:
        tensor = torch.from_numpy(batches[number % len(batches)].copy())
        return lambda: python_ref.sampler_simple_batch(tensor, generator=theirs)

    def port(number: int, _threads: int | None) -> Callable[[], Tokens]:
        batch = batches[number % len(batches)].copy()
        return lambda: rust_ext.simple_batch_sampler(batch, generator=ours)

    return Workload(work, reference, port, lambda: _state(theirs) == ours.get_state(), [])


def workloads(*, quick: bool) -> Iterator[Workload]:
    """Make every comparison, one at a time; a quick run leaves out most batches and real logits."""
    parameters = [
        *((preset.vocab, preset.top_p, preset.top_k) for preset in (GLOBAL, SEMANTIC)),
        *((vocab, *((0.85, 0) if vocab == 65_536 else (0.95, 50))) for vocab in VOCABULARIES),  # noqa: PLR2004
    ]
    for batch in BATCHES:
        for vocab, top_p, top_k in parameters:
            if batch == 1 or not quick or vocab == SEMANTIC.vocab:
                yield sample(Work("sample_logits", vocab, top_k, top_p, batch))
    top_p, top_k = SEMANTIC.top_p, SEMANTIC.top_k
    for logits in ("Gaussian",) if quick else ("Gaussian", "real"):
        if logits == "real":
            for preset in (GLOBAL, SEMANTIC):
                yield sample(
                    Work("sample_logits", preset.vocab, preset.top_k, preset.top_p, logits=logits)
                )
            for top_k, temperature in ((1_000, 1.0), (50, 0.7)):
                yield sample(
                    Work(
                        "sample_logits",
                        RECORDED,
                        top_k,
                        0.95,
                        logits=logits,
                        temperature=temperature,
                    )
                )
            for kind in (logits, REAL_BF16):
                yield with_tensors(Work("sample_logits_torch", RECORDED, 50, 0.95, logits=kind))
        yield sample(Work("draw", SEMANTIC.vocab, top_k, top_p, drawn=DRAWN, logits=logits))
    yield simple(Work("simple_batch_sampler", 65_536))


def check(workload: Workload, threads: int) -> None:
    """Check that both sides draw the same tokens from the same stream, at so many torch threads.

    Raises:
        CannotJudgeError: they do not.
    """
    work = workload.work
    torch.set_num_threads(threads)
    calls = max(CHECKED // (max(work.drawn, 1) * work.batch), 1)
    ours = np.concatenate(
        [np.asarray(workload.port(call, threads)()).reshape(-1) for call in range(calls)]
    )
    theirs: list[int] = []
    for call in range(len(ours) // work.batch):
        theirs += workload.reference(call)().reshape(-1).tolist()
    if theirs != ours.tolist() or not workload.same_state():
        raise CannotJudgeError(
            f"{work.words()}, {work.logits} logits, {threads} threads: the tokens differ"
        )


def compare(workload: Workload, samplers: list[Sampler], threads: int, budget: Budget) -> Timing:
    """Check the sides, then time them.

    Args:
        workload: what is compared.
        samplers: the peers that are here.
        threads: torch's threads on the side :data:`ALL_THREADS`, and where a peer uses torch.
        budget: how long it may take.

    Raises:
        CannotJudgeError: the port's tokens are not the reference's, or a peer's are not its own.
    """
    work = workload.work
    for number in (1, threads):
        check(workload, number)
    contestants = [
        Contestant(ONE_THREAD, workload.reference, work.batch, 1),
        Contestant(
            PORT, lambda number: workload.port(number, None), max(work.drawn, 1) * work.batch, 1
        ),
    ]
    peers = []
    if workload.batches:
        tensors = [torch.from_numpy(batch) for batch in workload.batches]
        for sampler in samplers:
            draw = sampler.make(work)
            check_possible(sampler, draw, work, workload.batches, max(CHECKED // work.batch, 1))
            peers.append(Contestant(sampler.name, _turns(draw, tensors), work.batch, threads))
    contestants += [*peers, Contestant(ALL_THREADS, workload.reference, work.batch, threads)]
    rounds = measure(contestants, budget, torch.set_num_threads)
    port = rounds[PORT]
    names = [ONE_THREAD, ALL_THREADS, *(peer.name for peer in peers)]
    return Timing(
        work=work,
        where="python",
        rounds=len(port),
        us=float(np.median(port)),
        sides=tuple(
            Side(name=name, us=float(np.median(rounds[name])), ratio=ratio(rounds[name], port))
            for name in names
        ),
    )


def _turns(draw: Draw, tensors: list[torch.Tensor]) -> Callable[[int], Callable[[], object]]:
    def prepare(number: int) -> Callable[[], object]:
        tensor = tensors[number % len(tensors)]
        return lambda: draw(tensor)

    return prepare


def _state(generator: torch.Generator) -> bytes:
    return generator.get_state().numpy().tobytes()
