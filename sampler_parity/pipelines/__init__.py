"""The samplers that come with the harness, one file each."""

from sampler_parity.pipelines.sample_logits import SampleLogits
from sampler_parity.pipelines.simple_batch import SimpleBatch

KINDS = SampleLogits | SimpleBatch
"""Parameters of any of them; the tag says of which."""

PIPELINES = {kind.pipeline.name: kind.pipeline for kind in (SampleLogits, SimpleBatch)}

__all__ = ["KINDS", "PIPELINES", "SampleLogits", "SimpleBatch"]
