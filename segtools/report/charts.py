"""The charts of the report: inline SVG, coloured by the page's style sheet, with a text for each.

Attributes hold numbers and hexadecimal colours only; what comes from the dataset goes through
`Markup.format`, which escapes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from segtools.report.text import count, milliliters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from segtools.report.summary import StructureSummary

_STRIP_WIDTH = 260
_STRIP_PAD = 18
_BAR_WIDTH = 1000
_BAR_MINIMUM = 6
"""Width of the bar's smallest part: one failure in 126,051 series must be seen."""


@dataclass(frozen=True, slots=True)
class LogScale:
    """Volumes, in whole decades, to places along a strip.

    Attributes
    ----------
    low, high : int
        Exponents of 10 at both ends, ml.
    """

    low: int
    high: int

    @classmethod
    def over(cls, structures: Iterable[StructureSummary]) -> LogScale:
        """Cover the volumes of all `structures`."""
        ends = [ml for s in structures if s.volume_ml for ml in (s.volume_ml[0], s.volume_ml[-1])]
        if not ends:
            return cls(0, 1)
        low = math.floor(math.log10(min(ends)))
        return cls(low, max(low + 1, math.ceil(math.log10(max(ends)))))

    def x(self, ml: float) -> float:
        """Place of a volume; to a tenth, so that the page does not depend on the last bit."""
        share = (math.log10(ml) - self.low) / (self.high - self.low)
        return round(_STRIP_PAD + share * (_STRIP_WIDTH - 2 * _STRIP_PAD), 1)

    @property
    def ticks(self) -> range:
        """Exponents that get a label: five at most."""
        return range(self.low, self.high + 1, math.ceil((self.high - self.low) / 4))


def outcome_bar(outcomes: Mapping[str, int]) -> Markup:
    """Draw series by status as one bar."""
    present = {status: n for status, n in outcomes.items() if n}
    free = _BAR_WIDTH - _BAR_MINIMUM * len(present)
    total = sum(present.values())
    parts, x = [], 0.0
    for status, n in present.items():
        width = _BAR_MINIMUM + free * n / total
        parts.append(
            Markup('<rect class="{}" x="{:.1f}" y="0" width="{:.1f}" height="20"/>').format(status, x, width)
        )
        x += width
    label = ", ".join(f"{count(n)} {status}" for status, n in present.items()) or "no series"
    return Markup(
        '<svg class="bar" viewBox="0 0 {} 20" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(_BAR_WIDTH, f"Series by outcome: {label}", Markup("").join(parts))


def volume_axis(scale: LogScale) -> Markup:
    """Draw the labels that the strips of one table share."""
    labels = [
        Markup('<text x="{:.1f}" y="11" text-anchor="middle">{}</text>').format(
            scale.x(10.0**exponent), milliliters(10.0**exponent)
        )
        for exponent in scale.ticks
    ]
    return Markup('<svg class="strip axis" viewBox="0 0 {} 14" aria-hidden="true">{}</svg>').format(
        _STRIP_WIDTH, Markup("").join(labels)
    )


def volume_strip(structure: StructureSummary, scale: LogScale) -> Markup:
    """Draw a structure's volumes as a box plot: box for the middle half, line 5 to 95 %, dots at the ends."""
    if structure.volume_ml is None:
        return Markup('<span class="quiet">not measured</span>')
    minimum, p5, q1, median, q3, p95, maximum = structure.volume_ml
    a, b, c, d, e, f, g = (scale.x(ml) for ml in structure.volume_ml)
    grid = Markup("").join(
        Markup('<path class="grid" d="M{0:.1f} 0V20"/>').format(scale.x(10.0**exponent))
        for exponent in scale.ticks
    )
    body = Markup(
        '<path class="whisker" d="M{b:.1f} 10H{f:.1f}"/>'
        '<rect class="box" x="{c:.1f}" y="4.5" width="{w:.1f}" height="11" rx="1.5"/>'
        '<path class="median" d="M{d:.1f} 2.5V17.5"/>'
        '<circle class="end" cx="{a:.1f}" cy="10" r="1.5"/><circle class="end" cx="{g:.1f}" cy="10" r="1.5"/>'
    ).format(a=a, b=b, c=c, d=d, f=f, g=g, w=max(2.0, e - c))
    text = (
        f"Volumes from {milliliters(minimum)} to {milliliters(maximum)} ml, median {milliliters(median)}, "
        f"middle half {milliliters(q1)} to {milliliters(q3)}, "
        f"5 to 95 % {milliliters(p5)} to {milliliters(p95)}"
    )
    return Markup('<svg class="strip" viewBox="0 0 {} 20" role="img" aria-label="{}">{}{}</svg>').format(
        _STRIP_WIDTH, text, grid, body
    )


def swatch(color_hex: str) -> Markup:
    """Draw a small square of a segment's colour."""
    return Markup(
        '<svg class="swatch" viewBox="0 0 10 10" aria-hidden="true">'
        '<rect width="10" height="10" rx="2"{}/></svg>'
    ).format(_fill(color_hex))


def _fill(color_hex: str) -> Markup:
    """Write a fill attribute, or nothing if the colour is none."""
    if re.fullmatch(r"#[0-9A-Fa-f]{6}", color_hex) is None:
        return Markup("")
    return Markup(' fill="{}"').format(color_hex)
