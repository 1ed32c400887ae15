"""What the installed torch does otherwise than others."""

import torch

from benchmarks.torch_matrix import accepted

OLDEST = torch.__version__.startswith("2.7.")
"""Whether torch is the oldest that is promised. Some of its errors have other classes."""

ROUNDS_UP = bool(accepted(torch.__version__))
"""Whether a denormal noise that rounds up to its range stays there in the installed torch."""
