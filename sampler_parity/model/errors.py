"""The exception behind exit status 2."""


class CannotJudgeError(Exception):
    """The gate could not be judged; the message says why and what to do next, in one sentence."""


def not_importable(error: ImportError) -> str:
    """Say that a package which is needed here cannot be imported, and what to do."""
    package = (error.name or "a package").partition(".")[0]
    return (
        f"{package} cannot be imported here ({error}): install it in this environment, and look "
        "with `sampler-parity doctor` whether the gate can judge"
    )
