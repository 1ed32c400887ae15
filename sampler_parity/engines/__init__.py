"""Engines: a whole generation, call by call."""

from sampler_parity.engines.recorder import Recorder
from sampler_parity.engines.recording import (
    Call,
    CallError,
    End,
    Ending,
    Fed,
    Header,
    Random,
    Recording,
    RecordingError,
)

__all__ = [
    "Call",
    "CallError",
    "End",
    "Ending",
    "Fed",
    "Header",
    "Random",
    "Recorder",
    "Recording",
    "RecordingError",
]
