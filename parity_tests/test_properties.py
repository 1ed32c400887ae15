"""Whatever hypothesis thinks of: small logits with many ties and odd values, any parameters."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sampler_parity.implementations.python_ref import PythonRef, capability_here
from sampler_parity.implementations.rust_ext import RustExt
from sampler_parity.judge import compare
from sampler_parity.model.case import Case
from sampler_parity.pipelines import SampleLogits, SimpleBatch

VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, 88.0, -104.0, 1e-45, 3e38, float("-inf")]),
    st.floats(width=32, allow_nan=True, allow_infinity=True),
    st.floats(-5, 5, width=16),
)
LOGITS = st.tuples(st.integers(1, 4), st.integers(1, 40)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=VALUES)
)
PARAMETERS = st.one_of(
    st.builds(
        SampleLogits,
        temperature=st.one_of(st.just(1.0), st.floats(0.01, 10), st.floats()),
        top_p=st.one_of(st.floats(0, 1), st.floats()),
        top_k=st.integers(-2, 45),
        zero_temperature=st.sampled_from(["raise", "argmax"]),
    ),
    st.builds(
        SimpleBatch,
        noise=st.one_of(st.floats(0, 10), st.floats()),
        temp=st.one_of(st.just(1.0), st.floats(0.01, 10), st.floats()),
    ),
)


@pytest.mark.promise
@settings(max_examples=600, deadline=None, derandomize=True)
@given(
    logits=LOGITS,
    parameters=PARAMETERS,
    seed=st.integers(0, 2**64 - 1),
    draws=st.integers(1, 3),
    advance=st.integers(0, 700),
)
def test_nothing_differs(
    logits: npt.NDArray[np.float32],
    parameters: SampleLogits | SimpleBatch,
    seed: int,
    draws: int,
    advance: int,
) -> None:
    case = Case("hypothesis", "hypothesis", logits, parameters, seed, draws, advance)
    capability = capability_here()
    reference, port = (side.run(case, capability) for side in (PythonRef(), RustExt()))
    assert compare(case, reference, port).divergence() is None
