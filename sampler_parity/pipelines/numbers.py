"""Numbers that a generator of the reference gives: torch's, or the port's in its place.

torch has these as methods of tensors. A generator that has them itself is asked instead: where
torch is not installed, :class:`sampler_parity.implementations.certified_port.PortGenerator`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Shape = tuple[int, ...]


def uniform_of(generator: Any) -> float:
    """Take one uniform of [0, 1): f32 of torch's generator, f64 of one of numpy's."""
    own = getattr(generator, "random", None)
    return float(uniforms((), 1.0, generator)) if own is None else float(own())


def uniforms(shape: Shape, most: float, generator: Any) -> npt.NDArray[np.float32]:
    """Take uniforms of [0, most), f32, as ``torch.empty(shape).uniform_(0, most)`` gives them."""
    own = getattr(generator, "uniforms", None)
    if own is not None:
        taken: npt.NDArray[np.float32] = own(shape, most)
        return taken
    import torch

    found: npt.NDArray[np.float32] = (
        torch.empty(shape).uniform_(0.0, most, generator=generator).numpy()
    )
    return found


def noise(shape: Shape, most: float, generator: Any) -> npt.NDArray[np.float64]:
    """Take uniforms of [0, most) in f64; no number of the generator where ``most`` is 0."""
    if not most:
        return np.zeros(shape)
    return uniforms(shape, most, generator).astype(np.float64)


def doubles(shape: Shape, generator: Any) -> npt.NDArray[np.float64]:
    """Take uniforms of [0, 1), f64, as torch gives them."""
    own = getattr(generator, "doubles", None)
    if own is not None:
        taken: npt.NDArray[np.float64] = own(shape)
        return taken
    import torch

    empty = torch.empty(shape, dtype=torch.float64)
    found: npt.NDArray[np.float64] = empty.uniform_(generator=generator).numpy()
    return found


def exponentials(shape: Shape, generator: Any) -> npt.NDArray[np.float32]:
    """Take exponentials of rate 1, f32: what ``torch.multinomial`` divides probabilities by."""
    own = getattr(generator, "exponentials", None)
    if own is not None:
        taken: npt.NDArray[np.float32] = own(shape)
        return taken
    import torch

    found: npt.NDArray[np.float32] = torch.empty(shape).exponential_(generator=generator).numpy()
    return found
