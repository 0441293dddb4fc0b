"""Strangers' names become harmless, distinct path components."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtools.dataset.layout import Layout, revision, volume_name
from segtools.files import MAX_COMPONENT, component
from segtools.schema import DATASET_TABLES

_SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\Z")


@pytest.mark.parametrize("name", ["TCGA-BP-4989", "1.2.840.113654.2.55", "tcga_kirc", "x" * 64])
def test_harmless_names_stay(name):
    assert component(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../..", "a/b", "a\\b", "a\0b", ".hidden", "end.", "ü", "x" * 65]
)
def test_harmful_names_change(name):
    safe = component(name)
    assert safe != name
    assert _SAFE.match(safe)
    assert not safe.endswith(".")


@given(st.text(max_size=200))
def test_every_component_is_one_safe_path_component(name):
    safe = component(name)
    assert _SAFE.match(safe)
    assert len(safe) <= MAX_COMPONENT
    assert safe == component(name)


@given(st.text(st.sampled_from("ab=-/.é"), max_size=6), st.text(st.sampled_from("ab=-/.é"), max_size=6))
def test_two_names_never_share_a_component(one, other):
    assert (component(one) == component(other)) == (one == other)


@given(st.text(max_size=100))
def test_a_name_cannot_imitate_a_changed_one(name):
    imitation = component(name)
    if imitation != name:
        assert component(imitation) != imitation


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_series_folders_stay_inside_the_dataset(collection, patient, uid):
    layout = Layout("/data/set")
    folder = layout.series_folder(collection, patient, uid)
    assert layout.absolute(folder).resolve().is_relative_to(layout.volumes)
    assert len(folder.split("/")) == 4


def test_same_patient_in_two_collections_has_two_folders():
    layout = Layout("d")
    assert layout.series_folder("a", "P1", "1.2") != layout.series_folder("b", "P1", "1.2")


def test_versions_and_settings_have_revisions_of_their_own():
    found = {revision(uuid, settings) for uuid in ("a", "ab", "") for settings in ("b", "", "bb")}
    assert len(found) == 9
    assert all(re.fullmatch(r"[0-9a-f]{16}", one) for one in found)


@pytest.mark.parametrize(
    ("kind", "entities", "name"),
    [
        ("dseg", {}, "_dseg.nii.gz"),
        ("dseg", {"layer": 1}, "_desc-layer1_dseg.nii.gz"),
        ("probseg", {"label": 3}, "_label-03_probseg.nii.gz"),
        ("mask", {"label": 120}, "_label-120_mask.nii.gz"),
    ],
)
def test_volume_names(kind, entities, name):
    assert volume_name("1.2.3", kind, **entities) == "1.2.3" + name
    assert volume_name("1.2.3", kind, revision="0f", **entities) == "1.2.3_rev-0f" + name


@pytest.mark.parametrize("table", DATASET_TABLES, ids=lambda table: table.name)
def test_a_part_that_lacks_a_table_is_none(tmp_path, table):
    layout = Layout(tmp_path)
    layout.staging.mkdir(parents=True)
    for other in DATASET_TABLES:
        if other is not table:
            layout.part("a/b", other.name).touch()
    assert layout.parts() == []
    layout.part("a/b", table.name).touch()
    assert layout.parts() == [component("a/b")]
    assert layout.part(layout.parts()[0], "segments") == layout.part("a/b", "segments")
