"""Structure, side and colour from codes."""

from __future__ import annotations

import highdicom as hd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtools.decode.volume import Segment
from segtools.terminology.color import cielab_to_srgb, color_hex
from segtools.terminology.concepts import Concept
from segtools.terminology.laterality import laterality
from segtools.terminology.names import slug
from segtools.terminology.structures import structure

ANATOMY = Concept("123037004", "SCT", "Anatomical Structure")
OLD_ANATOMY = Concept("T-D000A", "SRT", "Anatomical Structure")
MORPHOLOGY = Concept("49755003", "SCT", "Morphologically Altered Structure")
KIDNEY = Concept("64033007", "SCT", "Kidney")
NODULE = Concept("27925004", "SCT", "Nodule")
LUNG = Concept("39607008", "SCT", "Lung")
ORGAN = Concept("113343008", "SCT", "Organ")
LEFT = Concept("7771000", "SCT", "Left")
OLD_LEFT = Concept("G-A101", "SRT", "Left")
RIGHT = Concept("24028007", "SCT", "Right")
BOTH = Concept("51440002", "SCT", "Right and left")


@pytest.mark.parametrize(
    ("segment", "name", "side"),
    [
        (Segment(1, "x", category=ANATOMY, type=KIDNEY), "kidney", None),
        (Segment(1, category=ANATOMY, type=KIDNEY, type_modifiers=(LEFT,)), "kidney_left", "left"),
        (Segment(1, category=OLD_ANATOMY, type=KIDNEY, type_modifiers=(OLD_LEFT,)), "kidney_left", "left"),
        (Segment(1, category=ANATOMY, type=KIDNEY, type_modifiers=(BOTH,)), "kidney_bilateral", "bilateral"),
        (
            Segment(1, category=ANATOMY, type=KIDNEY, type_modifiers=(LEFT, RIGHT)),
            "kidney_bilateral",
            "bilateral",
        ),
        (Segment(1, category=MORPHOLOGY, type=NODULE, regions=(LUNG,)), "nodule_lung", None),
        (
            Segment(1, category=MORPHOLOGY, type=NODULE, regions=(LUNG,), region_modifiers=(RIGHT,)),
            "nodule_lung_right",
            "right",
        ),
        (Segment(1, category=MORPHOLOGY, type=NODULE), "nodule", None),
        (Segment(1, category=ANATOMY, type=ORGAN, regions=(LUNG,)), "lung", None),
        (Segment(1, category=ANATOMY, type=ORGAN), "organ", None),
        (Segment(1, category=ANATOMY, type=KIDNEY, regions=(LUNG,)), "kidney", None),
        (Segment(1, type=Concept("1", "99X", "Left kidney"), type_modifiers=(LEFT,)), "left_kidney", "left"),
        (Segment(1, "Left kidney"), "unnamed", None),
        (Segment(1, type=Concept("1", "99X", "肝臓")), "unnamed", None),
        (Segment(1, type=KIDNEY, type_modifiers=(Concept("7771000", "99X", "Left"),)), "kidney", None),
    ],
)
def test_structure_and_side(segment, name, side):
    assert structure(segment) == name
    assert laterality(segment) == side


@given(st.text())
def test_slugs_are_words(text):
    assert all(word.isascii() and word.isalnum() for word in slug(text).split("_") if slug(text))
    assert slug(slug(text)) == slug(text)


@pytest.mark.parametrize(
    "rgb", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 174, 128), (0, 0, 0), (255,) * 3]
)
def test_cielab_is_read_as_highdicom_writes_it(rgb):
    encoded = hd.color.CIELabColor.from_rgb(*rgb).value
    assert all(
        abs(ours - theirs) <= 3 for ours, theirs in zip(cielab_to_srgb(tuple(encoded)), rgb, strict=True)
    )


def test_colors():
    assert color_hex(Segment(1, cielab=(65535, 32896, 32896))) == "#FFFFFF"
    assert color_hex(Segment(1, rgb=(1, 2, 255))) == "#0102FF"
    palette = color_hex(Segment(1, type=KIDNEY))
    assert palette == color_hex(Segment(9, "other label", type=KIDNEY))
    assert palette != color_hex(Segment(1, type=KIDNEY, type_modifiers=(LEFT,)))
    assert color_hex(Segment(1)).startswith("#")


@given(st.tuples(*[st.integers(0, 65535)] * 3))
def test_any_encoded_color_is_a_color(encoded):
    assert all(0 <= part <= 255 for part in cielab_to_srgb(encoded))
