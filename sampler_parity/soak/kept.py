"""What a soak keeps beside its file: cases that differ, the closest ones, and a summary."""

from pathlib import Path

import msgspec

from sampler_parity.cases.case_file import save_case
from sampler_parity.model.files import write_atomically
from sampler_parity.run.command_words import replay_command
from sampler_parity.soak.lease import CloseCall, SoakFinding, kind_in_words
from sampler_parity.soak.recipe import Recipe, case_of_recipe
from sampler_parity.soak.soaking import SoakRequest
from sampler_parity.soak.tally import SoakSummary, SoakTally

SUMMARY_NAME = "soak.json"

SHOWN = 3
"""The closest cases of each measure that are kept as files."""


class Keeper:
    """Writes the files of a soak's folder."""

    def __init__(self, request: SoakRequest) -> None:
        """Write into the request's folder."""
        self._request = request

    def finding(self, found: SoakFinding) -> str:
        """Keep a case that differs, and as small as it was made; give the command that shows it."""
        folder = self._request.folder / "evidence"
        name = f"{found.capability}-{found.number}"
        path = self._case(folder / f"{name}.safetensors", found.recipe, found)
        if found.small:
            path = folder / f"{name}-small.safetensors"
            write_atomically(path, found.small)
        return self._replay(path, found.capability)

    def summary(self, tally: SoakTally) -> Path:
        """Keep the cases that differ, the closest ones and the summary; give the summary's path."""
        closest = {
            measure: tuple((call.distance, self._closest(call)) for call in calls[:SHOWN])
            for measure, calls in tally.closest.closest().items()
        }
        summary = SoakSummary(
            status=tally.status,
            begun=tally.begun,
            leases=tally.leases,
            compared=tally.compared,
            equal=tally.equal,
            stages=tally.stages,
            tokens=tally.tokens,
            not_compared=dict(tally.not_compared),
            differing=dict(tally.differing.most_common()),
            capabilities=dict(tally.capabilities.most_common()),
            versions=dict(tally.versions.most_common()),
            workers=dict(tally.workers.most_common()),
            seconds=round(tally.seconds, 1),
            rate=round(tally.rate, 1),
            cases_a_cpu_second=round(tally.compared / tally.cpu, 1) if tally.cpu else 0.0,
            closest=closest,
            findings=tuple((in_words(one), self.finding(one)) for one in tally.findings),
        )
        path = self._request.folder / SUMMARY_NAME
        write_atomically(path, msgspec.json.format(msgspec.json.encode(summary), indent=1) + b"\n")
        return path

    def _closest(self, call: CloseCall) -> str:
        name = f"{call.measure}-{call.capability}-{call.number}.safetensors"
        path = self._case(self._request.folder / "closest" / name, call.recipe, call)
        return self._replay(path, call.capability)

    def _case(self, path: Path, recipe: Recipe, of: CloseCall | SoakFinding) -> Path:
        case = case_of_recipe(recipe, of.number, self._request.seed)
        save_case(path, case, of.capability, None, None)
        return path

    def _replay(self, path: Path, capability: str) -> str:
        request = self._request
        return replay_command(str(path), (), capability, request.implementation, request.limits)


def in_words(found: SoakFinding) -> str:
    """Say where a case differs."""
    divergence = found.divergence
    return (
        f"case {found.number} at {found.capability}: {kind_in_words(divergence)}: "
        f"{divergence.reference} in the reference, {divergence.candidate} in the candidate"
    )
