"""Takes the screenshots of the documentation anew: ``python docs/screenshots.py``.

The clean report is the one in ``reports/sample``. The divergence is the first one of a specimen, of
which the gate is run on one family. It needs Chromium, and the extra ``test``.
"""

import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from parity_tests.browsers import chromium

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "target" / "screenshots"

WIDTH = 1100
"""Pixels of a page."""

PICTURES = {
    "holds": (ROOT / "reports" / "sample" / "index.html", "body", 620),
    "divergence": (RUN / "index.html", "article", 660),
}
"""Of each picture, the page, where in it the picture begins, and its height in pixels."""


def diverging() -> None:
    """Run the gate of a specimen, which diverges, into :data:`RUN`."""
    command = [sys.executable, "-m", "sampler_parity", "run", "--implementation", "specimen-wild"]
    command += ["--family", "zipf", "--out", str(RUN), "--quiet"]
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status != 1:
        raise SystemExit(f"the gate of a specimen ended with {status}, where 1 was expected")


def main() -> None:
    """Take every picture."""
    found = chromium()
    if found is None:
        raise SystemExit("Chromium is needed: apt install chromium")
    diverging()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for name, (page, place, height) in PICTURES.items():
            shown = browser.new_page(viewport={"width": WIDTH, "height": height})
            shown.goto(page.as_uri())
            shown.locator(place).first.evaluate("element => element.scrollIntoView()")
            shown.screenshot(path=ROOT / "docs" / "images" / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
