"""Gathers the pages of the documentation site into ``target/docs``: ``python docs/gather.py``.

Pages link each other as files of the repository, so that they can be read there. A link to a page
that the site has becomes one of the site; any other one leads to the repository's address, which is
the one of ``Cargo.toml``.
"""

import os
import re
import shutil
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "target" / "docs"

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "fixtures/README.md": "fixtures.md",
    "examples/engine/README.md": "example-engines.md",
    "benchmarks/README.md": "benchmarks.md",
    "rust_ext/sampler/README.md": "torch-exact-sampler.md",
    "rust_ext/recorder/README.md": "sampler-recorder.md",
    **{f"docs/{path.name}": path.name for path in sorted((ROOT / "docs").glob("*.md"))},
}
"""What the site has, by the file of the repository that it comes from."""

FILES = {
    "docs/images": "images",
    "docs/recordings.schema.json": "recordings.schema.json",
    "reports/sample": "sample",
    "reports/sample-engines": "sample-engines",
}

API = {
    "rust_ext": "The sampler, compiled from Rust. It needs numpy, and no torch.",
    "python_ref": "The reference: the two samplers in torch, op by op.",
    "sampler_parity": "The harness: what a test suite or a script of one's own calls.",
    "sampler_parity.engines": "Recorders and recordings of engines.",
}
"""The modules whose interface the site lists, from their docstrings."""

REPORTS = {
    "sample": "A report\n\nThe report of the run that the README prints",
    "sample-engines": "A report of two engines\n\nThe example engines, of which the Rust one calls "
    "the wrong sampler in its second phase",
}
"""The reports that the site shows, by their folders."""

LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def linked(source: str, text: str, address: str) -> str:
    """Lead every link of a page to where its target is for a reader of the site."""
    own = Path(PAGES[source]).parent

    def there(found: re.Match[str]) -> str:
        before, target, after = found.groups()
        if "://" in target:
            return found[0]
        path = os.path.normpath(Path(source).parent / target)
        for file, name in {**PAGES, **FILES}.items():
            if path == file or path.startswith(f"{file}/"):
                return before + os.path.relpath(name + path[len(file) :], own) + after
        if not (ROOT / path).exists():
            raise SystemExit(f"{source} links {target}, which is not there")
        return f"{before}{address}/blob/main/{path}{after}"

    return LINK.sub(there, text)


def main() -> None:
    """Gather everything anew."""
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    address = manifest["workspace"]["package"]["repository"]
    shutil.rmtree(SITE, ignore_errors=True)
    (SITE / "api").mkdir(parents=True)
    for source, name in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        (SITE / name).write_text(linked(source, text, address), encoding="utf-8")
    for source, name in FILES.items():
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, SITE / name)
    for module, words in API.items():
        page = SITE / "api" / f"{module.rpartition('.')[2]}.md"
        page.write_text(f"# {module}\n\n{words}\n\n::: {module}\n", encoding="utf-8")
    for folder, words in REPORTS.items():
        (SITE / f"{folder}-report.md").write_text(
            f"# {words}; it is one page, [by itself]({folder}/index.html).\n\n"
            f'<iframe src="{folder}/index.html" title="A report" width="100%" height="900">'
            "</iframe>\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
