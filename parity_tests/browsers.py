"""The browser in which reports are looked at."""

import shutil

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """Give the path of Chromium; ``None`` where it is not installed."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)
