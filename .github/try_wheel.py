"""Tries an installed wheel, without torch: what it installs, and that the sampler draws.

Expected tokens are torch's, of `fixtures/golden`, which the wheel holds.
"""

import sys

import numpy as np

import rust_ext

assert not any(name.partition(".")[0] in {"sampler_parity", "python_ref"} for name in sys.modules)

import json
from importlib.metadata import files
from importlib.resources import files as resources

from safetensors.numpy import load_file

INSTALLED = {"python_ref", "rust_ext", "sampler_parity"}

listed = {str(file).partition("/")[0] for file in files("sampler-parity") or ()}
names = {name for name in listed if "." not in name}
assert names == INSTALLED, names

golden = resources("sampler_parity") / "fixtures" / "golden"
inputs = load_file(str(golden / "cases.safetensors"))
equal = 0
for entry in json.loads((golden / "cases.json").read_text(encoding="utf-8")):
    case, given = entry["case"], entry["case"]["parameters"]
    if given["sampler"] != "sample_logits" or "tensor" not in entry["logits"]:
        continue
    numbers = [float(given[name]) for name in ("temperature", "top_p")]
    for capability in ("default", "avx2", "avx512", "neon", "sve256"):
        recorded = load_file(str(golden / f"{capability}.safetensors"))[f"{entry['id']}.token"]
        generator = rust_ext.Generator(case["seed"])
        tokens = [
            rust_ext.sample_logits(
                inputs[entry["id"]],
                *numbers,
                given["top_k"],
                generator=generator,
                capability=capability,
                threads=case["threads"],
            )
            for _ in range(case["draws"])
        ]
        assert np.array_equal(np.concatenate(tokens, axis=1), recorded), entry["id"]
        equal += 1
assert equal > len(inputs)
print(f"{equal} golden cases drawn as torch drew them; installed: {', '.join(sorted(names))}")
