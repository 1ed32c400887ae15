"""The recorded logits, loaded once."""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from sampler_parity.build.installation import how_to_restore
from sampler_parity.cases.manifest import FixtureError, verify
from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.model.files import DAMAGED

FIXTURES = (Path(__file__).parents[1] / "fixtures").resolve()
"""In a checkout, a link to its folder of that name; a wheel holds the files themselves."""


def check_fixtures(folder: Path = FIXTURES) -> None:
    """Check every fixture against the manifest.

    Raises:
        CannotJudgeError: a fixture is missing or not what was recorded.
    """
    try:
        verify(folder)
    except FixtureError as error:
        raise CannotJudgeError(str(error)) from error


@cache
def real_logits(folder: Path = FIXTURES) -> npt.NDArray[np.float32]:
    """Load the language model's logits, f32 [N, 49152]; do not modify them.

    Raises:
        CannotJudgeError: they cannot be read.
    """
    path = folder / "smollm2" / "logits.safetensors"
    try:
        logits: npt.NDArray[np.float32] = load_file(path)["logits"]
    except DAMAGED as error:
        raise CannotJudgeError(
            f"the recorded logits {path} cannot be read ({error}): {how_to_restore()}"
        ) from error
    logits.flags.writeable = False
    return logits
