"""Tries an installed wheel, without torch: what it installs, and that the sampler draws.

Expected tokens are torch's, of `fixtures/golden`, which the wheel holds. Several threads draw at
once, as they can where Python is free-threaded.
"""

import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import rust_ext

assert not any(name.partition(".")[0] in {"sampler_parity", "python_ref"} for name in sys.modules)

# On a free-threaded Python, a module that may not run without it turns the GIL on.
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    assert not sys._is_gil_enabled()  # noqa: SLF001  (it has no other name)

import json
from importlib.metadata import files
from importlib.resources import files as resources
from typing import Any

from safetensors.numpy import load_file

INSTALLED = {"python_ref", "rust_ext", "sampler_parity"}

listed = {str(file).partition("/")[0] for file in files("sampler-parity") or ()}
names = {name for name in listed if "." not in name}
assert names == INSTALLED, names

golden = resources("sampler_parity") / "fixtures" / "golden"
inputs = load_file(str(golden / "cases.safetensors"))
cases = [
    entry
    for entry in json.loads((golden / "cases.json").read_text(encoding="utf-8"))
    if entry["case"]["parameters"]["sampler"] == "sample_logits" and "tensor" in entry["logits"]
]
capabilities = ("default", "avx2", "avx512", "neon", "sve256")
recorded = {name: load_file(str(golden / f"{name}.safetensors")) for name in capabilities}


def tokens_of(entry: dict[str, Any], capability: str, generator: rust_ext.Generator) -> Any:
    """Draw a case's tokens with a generator."""
    case, given = entry["case"], entry["case"]["parameters"]
    tokens = [
        rust_ext.sample_logits(
            inputs[entry["id"]],
            float(given["temperature"]),
            float(given["top_p"]),
            given["top_k"],
            generator=generator,
            capability=capability,
            threads=case["threads"],
        )
        for _ in range(case["draws"])
    ]
    return np.concatenate(tokens, axis=1)


def draw(entry: dict[str, Any]) -> None:
    """Draw a case at each capability: its own generator, and one that all threads share."""
    for capability in capabilities:
        generator = rust_ext.Generator(entry["case"]["seed"])
        tokens = tokens_of(entry, capability, generator)
        expected = recorded[capability][f"{entry['id']}.token"]
        assert np.array_equal(tokens, expected), entry["id"]
        tokens_of(entry, capability, shared)


shared = rust_ext.Generator(0)
with ThreadPoolExecutor(4) as threads:
    list(threads.map(draw, cases))
equal = len(cases) * len(capabilities)
assert equal > len(inputs)
print(f"{equal} golden cases drawn as torch drew them; installed: {', '.join(sorted(names))}")
