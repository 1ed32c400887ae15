"""bfloat16, which numpy lacks."""

import numpy as np
import numpy.typing as npt


def from_bf16(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Widen bit patterns, of any shape: nothing is rounded."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
