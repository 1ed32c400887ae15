"""The exception behind exit status 2."""


class CannotJudgeError(Exception):
    """The gate could not be judged; the message says why and what to do next, in one sentence."""
