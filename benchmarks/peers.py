"""Samplers from outside the project, each doing the same work: temperature, top-k, top-p, a draw.

None replays torch's stream, so tokens cannot be compared. What is checked instead is that every
token is one that the peer's own stages keep. The order of the stages is each peer's own.
"""

import ctypes
import dataclasses
import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sampler_parity.model.errors import CannotJudgeError
from sampler_parity.run.benchmark_file import Peer, Work

SEED = 20240229
TEMPERATURE = 1.0
ROUNDING = 1e-3
"""Far more than a sum of 150,000 probabilities in f32 is off by."""

Rows = npt.NDArray[np.float32]
Draw = Callable[[torch.Tensor], list[int]]
"""Draws one token a row of f32 [B, V]."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sampler:
    """A peer that is called from Python.

    Attributes:
        name: how tables call it.
        package: the distribution it comes from.
        words: what is called, and the order of its stages.
        make: makes it for a workload.
        after_top_k: whether its nucleus is a share of what top-k left, not of the whole row.
    """

    name: str
    package: str
    words: str
    make: Callable[[Work], Draw]
    after_top_k: bool


def transformers_warpers(work: Work) -> Draw:
    """Make what ``generate`` makes of these parameters; all rows at once."""
    warpers: Any = importlib.import_module("transformers.generation.logits_process")
    chain = []
    if TEMPERATURE != 1.0:  # generate leaves it out where it changes nothing
        chain.append(warpers.TemperatureLogitsWarper(TEMPERATURE))
    if work.top_k:
        chain.append(warpers.TopKLogitsWarper(work.top_k))
    chain.append(warpers.TopPLogitsWarper(work.top_p))
    generator = torch.Generator().manual_seed(SEED)

    def draw(logits: torch.Tensor) -> list[int]:
        scores = logits
        for warper in chain:
            scores = warper(None, scores)
        probs = torch.softmax(scores, dim=-1)
        tokens: list[int] = torch.multinomial(probs, 1, generator=generator).reshape(-1).tolist()
        return tokens

    return draw


def rwkv_pipeline(work: Work) -> Draw:
    """Make ``PIPELINE.sample_logits``, row by row: it takes no batch."""
    sample: Any = importlib.import_module("rwkv.utils").PIPELINE.sample_logits
    np.random.seed(SEED)  # noqa: NPY002  # the generator that it draws from

    def draw(logits: torch.Tensor) -> list[int]:
        # Its pipeline is not looked at, and would need a model.
        return [sample(None, row, TEMPERATURE, work.top_p, work.top_k) for row in logits]

    return draw


def llama_chain(work: Work) -> Draw:
    """Make a ``llama_sampler_chain``, row by row: it takes no batch.

    The candidates are filled in for every row, as ``llama_sampler_sample`` does.
    """
    llama: Any = importlib.import_module("llama_cpp")
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    if work.top_k:
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_k(work.top_k))
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_p(work.top_p, 1))
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_temp(TEMPERATURE))
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_dist(SEED))
    fields = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
    if fields.itemsize != ctypes.sizeof(llama.llama_token_data):
        raise CannotJudgeError("llama.cpp's token data has another layout than is known here")
    blank = np.zeros(work.vocab, fields)
    blank["id"] = np.arange(work.vocab)
    candidates = blank.copy()
    data = candidates.ctypes.data_as(llama.llama_token_data_p)

    def draw(logits: torch.Tensor) -> list[int]:
        tokens = []
        for row in logits.numpy():
            candidates[:] = blank
            candidates["logit"] = row
            array = llama.llama_token_data_array(
                data=data, size=work.vocab, selected=-1, sorted=False
            )
            llama.llama_sampler_apply(chain, ctypes.byref(array))
            tokens.append(int(candidates["id"][array.selected]))
        return tokens

    return draw


SAMPLERS = (
    Sampler(
        "llama.cpp",
        "llama-cpp-python",
        "llama_sampler_chain of llama-cpp-python, row by row: top-k, top-p of what top-k left, "
        "temperature, dist",
        llama_chain,
        after_top_k=True,
    ),
    Sampler(
        "transformers",
        "transformers",
        "TopKLogitsWarper, TopPLogitsWarper (top-p of what top-k left), softmax, "
        "torch.multinomial; all rows at once, all threads",
        transformers_warpers,
        after_top_k=True,
    ),
    Sampler(
        "rwkv",
        "rwkv",
        "PIPELINE.sample_logits of rwkv.utils, row by row: softmax, top-p of the whole row, top-k, "
        "temperature, numpy's choice",
        rwkv_pipeline,
        after_top_k=False,
    ),
)
"""In the order in which they are timed: those that use threads of torch's come last."""


def describe(sampler: Sampler) -> Peer:
    """Say whether a peer can be measured, and as what."""
    version, missing = "", ""
    try:
        version = importlib.metadata.version(sampler.package)
        sampler.make(Work(function="sample_logits", vocab=8, top_k=4, top_p=0.9))
    except importlib.metadata.PackageNotFoundError:
        missing = f"{sampler.package} is not installed here: pip install '.[bench,bench-llama]'"
    except (ImportError, AttributeError, OSError, RuntimeError) as error:
        missing = f"{sampler.package} {version} cannot be used: {error}"[:300]
    return Peer(name=sampler.name, version=version, words=sampler.words, missing=missing)


def kept(row: Rows, work: Work, *, after_top_k: bool) -> npt.NDArray[np.bool_]:
    """Find what the stages keep, in f64 and with room for rounding at the cutoffs.

    Args:
        row: f32 [V].
        work: the parameters.
        after_top_k: whether the nucleus is a share of what top-k left, not of the whole row.

    Returns:
        bool [V].
    """
    order = np.argsort(-row, kind="stable")
    probs = np.exp(row[order].astype(np.float64) - row.max())
    ranks = np.arange(len(row))
    if work.top_k:
        least = row[order[work.top_k - 1]]
        listed = row[order] >= least
        if after_top_k:
            probs = probs[listed]
            probs = np.pad(probs, (0, len(row) - len(probs)))
    else:
        listed = ranks >= 0
    before = (np.cumsum(probs) - probs) / probs.sum()
    mask = np.zeros(len(row), np.bool_)
    mask[order] = listed & (before <= work.top_p + ROUNDING)
    return mask


def check_possible(
    sampler: Sampler, draw: Draw, work: Work, batches: list[Rows], calls: int
) -> None:
    """Check that a peer draws what its own stages keep, and not always the same.

    Raises:
        CannotJudgeError: it does not, so that it has not done the work.
    """
    seen = set()
    for call in range(calls):
        batch = batches[call % len(batches)]
        for row, token in zip(batch, draw(torch.from_numpy(batch)), strict=True):
            seen.add(token)
            if not kept(row, work, after_top_k=sampler.after_top_k)[token]:
                raise CannotJudgeError(
                    f"{sampler.name} drew token {token}, which its own stages drop, in "
                    f"{work.words()}"
                )
    if len(seen) == 1 and calls > 1:
        raise CannotJudgeError(f"{sampler.name} draws always the same in {work.words()}")
