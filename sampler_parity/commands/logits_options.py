"""The options that say which logits of one's own are compared, and how."""

from collections.abc import Sequence
from typing import Annotated

import typer

from sampler_parity.cases.your_logits import Value, YourLogits
from sampler_parity.model.errors import CannotJudgeError

FilesOption = Annotated[
    list[str] | None,
    typer.Option("--logits", help="Compare your own as well: safetensors, npy, npz, or .calls."),
]
TemperatureOption = Annotated[float | None, typer.Option(help="Of your logits' sampler.")]
TopPOption = Annotated[float | None, typer.Option(help="Of your logits' sampler.")]
TopKOption = Annotated[int | None, typer.Option(help="Of your logits' sampler.")]
ParameterOption = Annotated[
    list[str] | None, typer.Option("--parameter", help="Any of your logits' sampler: NAME=VALUE.")
]
SamplerOption = Annotated[str, typer.Option(help="That your logits are for, without --reference.")]
RowsOption = Annotated[str, typer.Option(help="Of your logits: FIRST:END.")]
SliceOption = Annotated[str, typer.Option("--slice", help="Tokens of each row: FIRST:END.")]
BatchOption = Annotated[
    int, typer.Option(min=1, help="Rows of your logits that are passed together.")
]
DrawsOption = Annotated[int, typer.Option(min=1, help="Successive calls on each of your logits.")]
SeedsOption = Annotated[
    list[int] | None,
    typer.Option("--draw-seed", min=0, help="A generator's seed to draw from your logits with."),
]


def asked_for(
    files: Sequence[str] | None,
    parameters: dict[str, Value],
    given: Sequence[str] | None,
    rows: str,
    vocabulary: str,
    *,
    sampler: str,
    batch: int,
    draws: int,
    seeds: Sequence[int] | None,
) -> YourLogits | None:
    """Put the options together; ``None`` where no file is named.

    Raises:
        CannotJudgeError: an option is given and no file, or one is not of its form.
    """
    values: dict[str, Value] = dict(_value(words) for words in given or ())
    values |= {name: value for name, value in parameters.items() if value is not None}
    asked = YourLogits(
        files=tuple(files or ()),
        parameters=values,
        rows=_range("--rows", rows),
        vocabulary=_range("--slice", vocabulary),
        sampler=sampler,
        batch=batch,
        draws=draws,
        seeds=tuple(seeds or ()),
    )
    if asked.files:
        return asked
    if asked != YourLogits(files=()):
        raise CannotJudgeError("parameters, rows or draws are given for your logits: name --logits")
    return None


def _value(words: str) -> tuple[str, Value]:
    name, sign, text = words.partition("=")
    if not sign or not name:
        raise CannotJudgeError(f"--parameter {words!r} is not NAME=VALUE")
    for kind in (int, float):
        try:
            return name, kind(text)
        except ValueError:
            continue
    return name, None if text == "none" else text


def _range(option: str, words: str) -> tuple[int, int | None]:
    first, colon, end = words.partition(":")
    if not colon or not all(part.isdecimal() or not part for part in (first, end)):
        raise CannotJudgeError(f"{option} {words!r} is not FIRST:END")
    return int(first or 0), int(end) if end else None
