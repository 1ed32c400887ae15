"""Opens somebody's own logits: files of rows, and recordings of engines."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from sampler_parity.cases.draws import Logits
from sampler_parity.cases.logits_file import parts_of
from sampler_parity.cases.your_logits import LogitsPart, YourCases, YourLogits, parameters_given
from sampler_parity.engines.known import parameters_of, sampler_of
from sampler_parity.engines.recording import Recording
from sampler_parity.engines.stream import TORCH, torch_takes
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.pipeline import Parameters
from sampler_parity.pipelines.references import REFERENCES, reference_of

CALLS = ".calls"


def opened(asked: YourLogits, reference: str = "", seed: int = 0) -> YourCases:
    """Open the files of ``asked``, as cases for ``reference``, or for the sampler that is named.

    Raises:
        CannotJudgeError: a file cannot be read; a parameter, pipeline or number is none that there
            is; or nothing is left to compare.
    """
    _check(asked)
    if not reference and ":" in asked.sampler:
        # It would be imported, and a stored run may hold any.
        raise CannotJudgeError(f"sampler {asked.sampler!r} is none of {', '.join(REFERENCES)}")
    kind = reference_of(reference or asked.sampler)
    parts: list[LogitsPart] = []
    left_out: dict[str, str] = {}
    for name in asked.files:
        if name.endswith(CALLS):
            found = list(_calls(name, asked, kind, known=not reference))
            parts += [part for part in found if isinstance(part, LogitsPart)]
            words = [part for part in found if isinstance(part, str)]
            if words:
                left_out[name] = f"{len(words):,} calls left out, the first: {words[0]}"
        else:
            parts += parts_of(Path(name), asked, kind)
    return YourCases(asked, parts, reference, seed, left_out)


def _check(asked: YourLogits) -> None:
    for name, value in (("batch", asked.batch), ("draws", asked.draws)):
        if value < 1:
            raise CannotJudgeError(f"{name} is {value}: it is at least 1")
    for name, (first, last) in (("rows", asked.rows), ("slice", asked.vocabulary)):
        if first < 0 or (last is not None and last <= first):
            end = "" if last is None else last
            raise CannotJudgeError(f"{name} {first}:{end} is empty: FIRST:END, END after FIRST")


def _calls(
    name: str, asked: YourLogits, kind: type[Parameters], *, known: bool
) -> Iterator[LogitsPart | str]:
    """Make a part of every call that is asked for, or say why it is none.

    A call keeps its own parameters if it is one of the sampler's; of another sampler, whose
    parameters mean something else, only the logits are taken. Where any ``known`` sampler will do,
    a call is a case for its own.
    """
    recording = Recording.open(name)
    first, last = asked.rows
    for index, call in enumerate(recording.calls[first:last], start=first):
        where = f"call {call.call} of generation {call.generation} ({call.phase})"
        if call.keep != "whole" or call.dtype == "F64":
            kept = f"logits as {call.keep}" if call.keep != "whole" else "f64 logits"
            yield f"{where} keeps {kept}"
            continue
        parameters = parameters_of(call) if known and not asked.parameters else None
        if parameters is None:
            own = call.parameters if sampler_of(call) == kind.sampler else {}
            own = {key: value for key, value in own.items() if key in kind.__struct_fields__}
            parameters = parameters_given(kind, asked.parameters, own, f"{name}, {where}")
        tensors = recording.tensors(index)
        history, state = tensors.get("history"), tensors.get("state_before", np.empty(0, np.uint8))
        torch_s = call.random is not None and call.random.source == TORCH
        replayed = torch_s and parameters.pipeline.stream is None and state.size > 0
        if replayed and not torch_takes(state.tobytes()):
            yield f"{where} keeps a generator's state that torch refuses"
            continue
        yield LogitsPart(
            file=name,
            where=where,
            read=_reader(recording, index),
            parameters=parameters,
            seed=None if call.random is None else call.random.seed,
            state=state.tobytes() if replayed else b"",
            history=None if history is None else history.reshape(-1, history.shape[-1]),
        )


def _reader(recording: Recording, index: int) -> Callable[[], Logits]:
    def read() -> Logits:
        return np.atleast_2d(np.ascontiguousarray(recording.tensors(index)["logits"], np.float32))

    return read
