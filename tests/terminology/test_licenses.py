"""What a licence allows: plan, report and check judge by one rule."""

from __future__ import annotations

import duckdb
import pytest

from segtools.terminology.licenses import (
    NONCOMMERCIAL_PATTERN,
    allows_commercial_use,
    is_noncommercial,
    license_family,
)

NAMES = [
    ("CC BY-NC 4.0", False, "cc by nc"),
    ("CC BY-NC 3.0", False, "cc by nc"),
    ("CC BY-NC-SA 3.0", False, "cc by nc sa"),
    ("CC BY-NC-ND 4.0", False, "cc by nc nd"),
    ("cc by nc", False, "cc by nc"),
    ("CC-BY_NC", False, "cc by nc"),
    ("CCBYNC", False, "ccbync"),
    ("CC BY-NONCOMMERCIAL", False, "cc by noncommercial"),
    ("non-commercial", False, "non commercial"),
    ("non-commercial use only", False, "non commercial use only"),
    ("NON COMMERCIAL", False, "non commercial"),
    ("No commercial use", False, "no commercial use"),
    ("Creative Commons Attribution-NonCommercial 4.0", False, "creative commons attribution noncommercial"),
    ("https://creativecommons.org/licenses/by-nc/4.0/", False, "https creativecommons org licenses by nc"),
    ("CC BY 4.0", True, "cc by"),
    ("CC BY 3.0", True, "cc by"),
    ("CC BY-SA 4.0", True, "cc by sa"),
    ("CC0", True, "cc0"),
    ("CC0 1.0", True, "cc0"),
    ("public domain", True, "public domain"),
    ("NCI Data Usage Policy", None, "nci data usage policy"),
    ("science only", None, "science only"),
    ("", None, ""),
    (None, None, ""),
]


@pytest.mark.parametrize(("name", "allowed", "family"), NAMES)
def test_what_a_licence_allows(name, allowed, family):
    assert allows_commercial_use(name) is allowed
    assert is_noncommercial(name) is (allowed is False)
    assert license_family(name) == family


def test_sql_judges_as_python_does():
    names = [name for name, _, _ in NAMES if name is not None]
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT name, regexp_matches(lower(name), ?) FROM (SELECT unnest(?) AS name)",
            [NONCOMMERCIAL_PATTERN, names],
        ).fetchall()
    assert dict(rows) == {name: is_noncommercial(name) for name in names}
