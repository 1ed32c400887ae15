"""The documentation site: what it gathers, and that its links lead where the repository's do."""

import re
import runpy
from typing import Any

import pytest

from parity_tests.test_listings import PAGES, TRACKED
from sampler_parity.build.installation import REPOSITORY

GATHER: dict[str, Any] = runpy.run_path(str(REPOSITORY / "docs" / "gather.py"))


def test_every_page_is_in_the_site_s_list() -> None:
    listed = re.findall(r"- (\S+\.md)$", (REPOSITORY / "mkdocs.yml").read_text(), re.MULTILINE)
    api = {f"api/{module.rpartition('.')[2]}.md" for module in GATHER["API"]}
    reports = {f"{folder}-report.md" for folder in GATHER["REPORTS"]}
    assert len(listed) == len(set(listed))
    assert set(listed) == {*GATHER["PAGES"].values(), *api, *reports}
    pages = set(PAGES) & set(TRACKED)
    assert pages - set(GATHER["PAGES"]) == {"reports/README.md"}, "of a folder for what runs make"


@pytest.mark.parametrize(
    ("source", "link", "there"),
    [
        ("README.md", "(docs/engines.md#a)", "(engines.md#a)"),
        ("docs/engines.md", "(../README.md)", "(index.md)"),
        ("docs/engines.md", "(recordings.schema.json)", "(recordings.schema.json)"),
        ("README.md", "(docs/images/holds.png)", "(images/holds.png)"),
        ("README.md", "(LICENSE)", "(https://x/blob/main/LICENSE)"),
        ("fixtures/README.md", "(../docs/vectors.md)", "(vectors.md)"),
        ("README.md", "(https://y/z)", "(https://y/z)"),
        ("README.md", "(#here)", "(#here)"),
    ],
)
def test_a_link_leads_to_the_same(source: str, link: str, there: str) -> None:
    assert GATHER["linked"](source, f"[words]{link}", "https://x") == f"[words]{there}"


def test_a_link_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"links nowhere\.md"):
        GATHER["linked"]("README.md", "[words](nowhere.md)", "https://x")
