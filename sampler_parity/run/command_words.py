"""The commands that a run keeps in words."""

import shlex
from collections.abc import Sequence

from sampler_parity.cases.plan import LOOK
from sampler_parity.cases.your_logits import YourLogits, is_yours
from sampler_parity.implementations.registry import PORT
from sampler_parity.run.request import Request, usual_capabilities, usual_families, usual_folder
from sampler_parity.sandbox.isolated import Limits, options_of


def run_command(request: Request) -> str:
    """Give the command that was given, or that asks for the same."""
    profile = request.profile
    how_many = ["--quick-look"] if profile == LOOK else ["--profile", profile]
    command = ["sampler-parity", "run", *how_many, "--seed", str(request.seed)]
    for option, given, every in (
        ("--implementation", request.implementations, (PORT,)),
        ("--capability", request.capabilities, usual_capabilities(profile)),
        ("--family", request.families, usual_families(request.logits)),
    ):
        if given != every:
            command += [word for value in given for word in (option, value)]
    for option, value, default in (
        ("--reference", request.reference, ""),
        ("--out", request.folder, usual_folder(profile)),
        ("--jobs", request.jobs, None),
        ("--waivers", request.waivers_file, None),
    ):
        if value != default:
            command += [option, str(value)]
    command += ["--failed"] if request.failed else []
    command += ["--shard", "{}/{}".format(*request.part)] if request.part else []
    command += [] if request.logits is None else options_of_logits(request.logits)
    command += [] if request.evidence else ["--no-evidence"]
    return shlex.join([*command, *options_of(request.limits)])


def options_of_logits(asked: YourLogits) -> list[str]:
    """Give the options of a command that ask for the same logits."""
    usual = YourLogits(files=())
    found = [word for name in asked.files for word in ("--logits", name)]
    for name, value in asked.parameters.items():
        found += ["--parameter", f"{name}={'none' if value is None else value}"]
    for option, given, default in (
        ("--sampler", asked.sampler, usual.sampler),
        ("--rows", range_in_words(asked.rows), range_in_words(usual.rows)),
        ("--slice", range_in_words(asked.vocabulary), range_in_words(usual.vocabulary)),
        ("--batch", str(asked.batch), str(usual.batch)),
        ("--draws", str(asked.draws), str(usual.draws)),
    ):
        found += [option, given] if given != default else []
    return found + [word for seed in asked.seeds for word in ("--draw-seed", str(seed))]


def range_in_words(ends: tuple[int, int | None]) -> str:
    """Give FIRST:END as an option takes it."""
    first, end = ends
    return f"{first}:{'' if end is None else end}"


def gate_command(command: str) -> str:
    """Give the command of the gate for that of a quick look."""
    words = shlex.split(command)
    at = words.index("--quick-look")
    words = [*words[:at], "--profile", "quick", *words[at + 1 :]]
    # What failed is looked up in the folder of the stored run, which is another one.
    return shlex.join(word for word in words if word != "--failed")


def replay_command(
    what: str,
    after: Sequence[str],
    capability: str,
    implementation: str,
    limits: Limits,
    reference: str = "",
    run: str = "",
) -> str:
    """Give the command that runs a case again.

    Args:
        what: the case's id, or its file.
        after: the cases that the candidate's process is asked before, in their order.
        capability: torch's, and the candidate's.
        implementation: the candidate, as a command line calls it.
        limits: the candidate's.
        reference: the pipeline, where a file's parameters are of one's own.
        run: where the run is stored, which says where logits are that a case is made of.
    """
    command = ["sampler-parity", "explain", what, "--capability", capability]
    command += [word for case in after for word in ("--after", case)]
    if implementation != PORT:
        command += ["--implementation", implementation]
    if any(is_yours(case) for case in (what, *after)):
        command += ["--run", run]
    if ":" in reference:
        command += ["--reference", reference]
    return shlex.join([*command, *options_of(limits)])
