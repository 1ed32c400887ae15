"""Charts as small static SVG, drawn by Vega-Lite.

A chart's colours are the page's own CSS variables, so it follows light and dark; its words are
scaled with it, so it is drawn narrow enough for a phone.
"""

import re
import xml.etree.ElementTree as ET
from functools import lru_cache
from typing import Any

import msgspec
from markupsafe import Markup

from sampler_parity.build.installation import is_installed

WIDTH, HEIGHT = 300, 170
"""Pixels of the plot itself: with its axes it fits a window of 360."""

TORCH, CANDIDATE, BOTH, NEITHER = "#2b5fad", "#b3261e", "#17663a", "#8b9096"
_INK, _SOFT, _LINE = "#1c1d1f", "#5c6066", "#dcdcd6"
_VARIABLES = {
    TORCH: "--torch",
    CANDIDATE: "--candidate",
    BOTH: "--both",
    NEITHER: "--neither",
    _INK: "--ink",
    _SOFT: "--soft",
    _LINE: "--line",
}
_CONFIG = {
    "aria": False,
    "background": "transparent",
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": _SOFT,
        "titleColor": _SOFT,
        "titleFontWeight": "normal",
        "gridColor": _LINE,
        "domainColor": _LINE,
        "tickColor": _LINE,
        "labelFontSize": 11,
        "titleFontSize": 11,
    },
    "legend": {
        "orient": "top",
        "labelColor": _INK,
        "labelFontSize": 11,
        "title": None,
        "labelLimit": 300,
        "columns": 2,
        "columnPadding": 16,
        "offset": 4,
        "symbolSize": 40,
    },
}
_SVG = "http://www.w3.org/2000/svg"
_DROPPED = re.compile(r"aria-.*|role|pointer-events|stroke-miterlimit|version|font-family")
_LONG = re.compile(r"-?\d+\.\d{2,}")


class _Undrawn:
    """Takes the place of altair where it is not installed: whatever is built of it is no chart."""

    def __getattr__(self, _: str) -> "_Undrawn":
        return self

    def __call__(self, *_: object, **__: object) -> "_Undrawn":
        return self

    def __add__(self, _: object) -> "_Undrawn":
        return self


def altair() -> Any:
    """Import altair, which takes seconds: not every page has a chart. It is not typed."""
    if not (is_installed("altair") and is_installed("vl_convert")):
        return _Undrawn()
    import altair as alt

    return alt


def draw(chart: Any, name: str) -> Markup:
    """Draw an Altair chart.

    Args:
        chart: any chart of ``altair``, its data inline.
        name: what it shows, in a sentence: what a screen reader says instead.

    Returns:
        An ``svg`` element; where the extra ``charts`` is not installed, the sentence.
    """
    if isinstance(chart, _Undrawn):
        return Markup('<p class="undrawn">{}</p>').format(name)
    specification = chart.configure(**_CONFIG).to_dict()
    return Markup(_svg(msgspec.json.encode(specification, order="sorted"), name))  # noqa: S704


@lru_cache(maxsize=256)
def _svg(specification: bytes, name: str) -> str:
    # Here, not above: it takes seconds to start, and most reports of equal runs need one chart.
    import vl_convert

    drawn = vl_convert.vegalite_to_svg(specification.decode(), allowed_base_urls=[])
    root = ET.fromstring(drawn)  # noqa: S314  # our own renderer's
    _prune(root)
    width, height = root.attrib.pop("width"), root.attrib.pop("height")
    root.attrib.clear()
    root.attrib.update(
        {"class": "chart", "role": "img", "aria-label": name, "viewBox": f"0 0 {width} {height}"}
    )
    root.set("width", width)
    ET.register_namespace("", _SVG)
    return ET.tostring(root, encoding="unicode").replace(f' xmlns="{_SVG}"', "", 1)


def _prune(element: ET.Element) -> None:
    """Leave out what is not seen: a chart has five times more of it than of what is."""
    for child in list(element):
        _prune(child)
        tag = child.tag.removeprefix(f"{{{_SVG}}}")
        invisible = child.get("display") == "none" or child.get("opacity") == "0"
        blank = tag == "path" and not {"fill", "stroke"} & {
            key for key, value in child.attrib.items() if value != "transparent"
        }
        if invisible or blank or (tag in {"g", "text"} and not len(child) and not child.text):
            element.remove(child)
        elif tag == "g" and not child.attrib:
            place = list(element).index(child)
            element.remove(child)
            for offset, grandchild in enumerate(child):
                element.insert(place + offset, grandchild)
    for key, value in list(element.attrib.items()):
        if (
            _DROPPED.fullmatch(key)
            or key in {"class", "clip-path"}
            or (key, value)
            == (
                "opacity",
                "1",
            )
        ):
            del element.attrib[key]
        elif key in {"transform", "d"}:
            element.set(key, _LONG.sub(lambda number: f"{float(number[0]):.1f}", value))
        elif value in _VARIABLES:
            element.set(key, f"var({_VARIABLES[value]})")
