from xml.etree import ElementTree

import pytest

from segtools.report.charts import (
    LogScale,
    outcome_bar,
    swatch,
    volume_axis,
    volume_strip,
)
from segtools.report.summary import StructureSummary


def structure(*volume_ml, color_hex="#DD8265"):
    return StructureSummary("liver", 9, 9, 9, 0, volume_ml or None, color_hex)


def test_a_scale_covers_whole_decades():
    scale = LogScale.over([structure(0.3, 1, 1, 1, 1, 1, 2), structure(1, 1, 1, 5, 9, 9, 1200)])
    assert (scale.low, scale.high) == (-1, 4)
    assert scale.x(0.1) < scale.x(0.3) < scale.x(1200) < scale.x(10_000)
    assert scale.x(10) - scale.x(1) == pytest.approx(scale.x(100) - scale.x(10), abs=0.2)


def test_a_scale_of_nothing_and_of_one_value():
    assert LogScale.over([structure()]) == LogScale(0, 1)
    assert LogScale.over([structure(*[10.0] * 7)]) == LogScale(1, 2)


def test_a_wide_scale_has_few_labels():
    assert len(LogScale(-9, 6).ticks) <= 5


def test_a_strip_puts_its_marks_in_order_and_says_them():
    scale = LogScale(0, 4)
    svg = ElementTree.fromstring(volume_strip(structure(2, 5, 10, 100, 300, 900, 5000), scale))
    box = svg.find("rect[@class='box']")
    left, width = float(box.get("x")), float(box.get("width"))
    assert left == scale.x(10)
    assert left + width == pytest.approx(scale.x(300), abs=0.11)
    assert [float(dot.get("cx")) for dot in svg.findall("circle")] == [scale.x(2), scale.x(5000)]
    assert svg.find("path[@class='median']").get("d").startswith(f"M{scale.x(100)} ")
    assert "median 100 ml" not in svg.get("aria-label")
    assert "median 100, middle half 10 to 300" in svg.get("aria-label")


def test_what_was_not_measured_is_said_not_drawn():
    assert "svg" not in volume_strip(structure(), LogScale(0, 1))


def test_the_axis_is_well_formed():
    svg = ElementTree.fromstring(volume_axis(LogScale(0, 3)))
    assert [text.text for text in svg] == ["1", "10", "100", "1,000"]


def test_the_bar_shows_one_failure_among_many():
    svg = ElementTree.fromstring(outcome_bar({"ok": 126_050, "warned": 0, "failed": 1, "retired": 0}))
    parts = {rect.get("class"): (float(rect.get("x")), float(rect.get("width"))) for rect in svg}
    assert list(parts) == ["ok", "failed"]
    assert parts["failed"][1] >= 6
    assert sum(parts["failed"]) == pytest.approx(1000, abs=0.2)
    assert svg.get("aria-label") == "Series by outcome: 126,050 ok, 1 failed"


def test_the_bar_of_nothing():
    assert "no series" in outcome_bar({"ok": 0, "failed": 0})


@pytest.mark.parametrize("color", ['"/><script>', "red", "#12345", "#1234567", "#12345g", ""])
def test_a_color_that_is_none_is_left_out(color):
    assert "fill" not in swatch(color)
    assert 'fill="#A0b1C2"' in swatch("#A0b1C2")
