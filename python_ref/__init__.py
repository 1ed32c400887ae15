"""The PyTorch reference: the two token samplers exactly as the Python system runs them.

Everything else in this repository is judged against these functions.
They are written op by op, in the order and with the operations of the original,
because the order and the operations decide the bits.
"""

from python_ref.presets import GLOBAL, PRESETS, SEMANTIC, Preset
from python_ref.sample_logits import (
    SampleLogitsTrace,
    renormalize,
    sample_logits,
    top_k_dropped,
    top_p_dropped,
    trace_sample_logits,
)
from python_ref.simple_batch import (
    SimpleBatchTrace,
    sampler_simple_batch,
    trace_sampler_simple_batch,
)

__all__ = [
    "GLOBAL",
    "PRESETS",
    "SEMANTIC",
    "Preset",
    "SampleLogitsTrace",
    "SimpleBatchTrace",
    "renormalize",
    "sample_logits",
    "sampler_simple_batch",
    "top_k_dropped",
    "top_p_dropped",
    "trace_sample_logits",
    "trace_sampler_simple_batch",
]
