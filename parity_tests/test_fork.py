"""A process that was forked goes on with calls; what a fork left half-way says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 120
"""Seconds after which a child that hangs is ended, and the test fails."""

START = """
import os, signal, sys, threading
import numpy as np
import rust_ext

logits = (np.random.default_rng(1).standard_normal((16, 8193)) * 3).astype(np.float32)

def batch(top_k, **threads):
    generator = rust_ext.Generator(5)
    tokens = rust_ext.sample_logits(logits, 1.0, 0.95, top_k, generator=generator, **threads)
    return tokens.tolist(), generator.get_state()

def children_agree(work, count=1):
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            signal.alarm(LIMIT)
            os._exit(0 if work() else 1)
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"the child ended with status {status}"

def threads_here():
    return len(os.listdir("/proc/self/task"))
"""


def run(script: str, tmp_path: Path) -> None:
    """Run a script in a process with helpers, whatever the processor has."""
    start = START.replace("LIMIT", str(LIMIT))
    with (tmp_path / "printed").open("wb") as printed:
        process = subprocess.run(
            [sys.executable, "-c", start + script],
            env=os.environ | {"RAYON_NUM_THREADS": "3"},
            stdout=printed,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert process.returncode == 0, (tmp_path / "printed").read_text(encoding="utf-8")


@pytest.mark.parametrize("top_k", [80, 0])
def test_a_child_draws_batches(top_k: int, tmp_path: Path) -> None:
    script = f"""
expected = batch({top_k})
children_agree(lambda: batch({top_k}) == expected and batch({top_k}) == expected)
children_agree(lambda: batch({top_k}, threads=1) == expected)
assert batch({top_k}) == expected
"""
    run(script, tmp_path)


def test_a_child_of_a_process_that_is_drawing(tmp_path: Path) -> None:
    """Whatever another thread is at when the process is forked: batches of two kinds of pools."""
    script = """
expected = [batch(top_k) for top_k in (80, 0)]
over = False

def draw():
    while not over:
        batch(80)
        batch(0, threads=2)

others = [threading.Thread(target=draw) for _ in range(2)]
for other in others:
    other.start()
children_agree(lambda: [batch(top_k) for top_k in (80, 0)] == expected, 20)
over = True
for other in others:
    other.join()
"""
    run(script, tmp_path)


def test_one_thread_means_one(tmp_path: Path) -> None:
    script = """
before = threads_here()
expected = [batch(top_k, threads=1) for top_k in (80, 0)]
assert threads_here() == before, "threads=1 started threads"
assert [batch(top_k) for top_k in (80, 0)] == expected
assert threads_here() > before, "the test can tell"
assert [batch(top_k, threads=2) for top_k in (80, 0)] == expected
"""
    run(script, tmp_path)


@pytest.mark.promise
def test_the_torch_call_uses_as_many_threads_as_torch(tmp_path: Path) -> None:
    script = """
import torch
torch.set_num_threads(1)
tensor, generator = torch.from_numpy(logits), torch.Generator()
before = threads_here()
rust_ext.sample_logits_torch(tensor, 1.0, 0.95, 80, generator=generator)
assert threads_here() == before
"""
    run(script, tmp_path)


@pytest.mark.promise
def test_a_torch_generator_that_another_thread_had(tmp_path: Path) -> None:
    """Its state is taken over when the call ends: in the child, the call was made or was not."""
    script = """
import torch
torch.set_num_threads(1)
generator, tensor = torch.Generator().manual_seed(1), torch.from_numpy(logits).repeat(40, 1)
started = threading.Event()

def draw(generator):
    return rust_ext.sample_logits_torch(tensor, 1.0, 0.95, 80, generator=generator).tolist()

def work():
    draw(torch.Generator())
    started.set()
    draw(generator)

def draws_as_alone():
    alone = torch.Generator().manual_seed(1)
    return draw(generator) in (draw(alone), draw(alone))

# A thread keeps the GIL until it gives it up, which is within the draw.
sys.setswitchinterval(1000)
other = threading.Thread(target=work)
other.start()
started.wait()
children_agree(draws_as_alone)
other.join()
"""
    run(script, tmp_path)


def test_a_generator_that_another_thread_had(tmp_path: Path) -> None:
    """The thread is gone in the child, and its draw half done."""
    script = """
generator, row = rust_ext.Generator(1), logits[0]
started = threading.Event()

def draw():
    started.set()
    rust_ext.draw(row, 200_000, generator=generator)

def is_refused():
    try:
        generator.get_state()
    except RuntimeError as error:
        return "forked" in str(error) and batch(80)[0] and rust_ext.Generator(1).get_state()
    return False

# A thread keeps the GIL until it gives it up, which is within the draw.
sys.setswitchinterval(1000)
other = threading.Thread(target=draw)
other.start()
started.wait()
children_agree(is_refused)
other.join()
generator.get_state()
children_agree(generator.get_state)
"""
    run(script, tmp_path)
