"""A finding: something repaired, assumed or doubtful, recorded beside a result.

A failure is never a number: what could not be had is null, and a finding says why.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from segtools.codes import CODES, Severity
from segtools.showable import showable

Scope = Literal["series", "instance", "segment", "dataset"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Parameters
    ----------
    code : str
        Stable kebab-case code; one of `segtools.codes.CODES` with a severity.
    message : str
        One sentence with the values at hand.
    scope : {"series", "instance", "segment", "dataset"}
        What it speaks of.
    segment_number : int, optional
        The segment, where it speaks of one.
    observed, expected : str, optional
        The values that differ.
    tag : str, optional
        DICOM tag, ``"(0018,0088)"``.
    """

    code: str
    message: str
    scope: Scope = "instance"
    segment_number: int | None = None
    observed: str | None = None
    expected: str | None = None
    tag: str | None = None

    def __post_init__(self) -> None:
        if self.code not in CODES or CODES[self.code].severity is None:
            raise AssertionError(f"{self.code!r} is no finding code of segtools.codes")
        for name in ("message", "observed", "expected"):  # they hold values from files
            if (text := getattr(self, name)) is not None:
                object.__setattr__(self, name, showable(text))

    @property
    def severity(self) -> Severity:
        """The code's severity."""
        severity = CODES[self.code].severity
        assert severity is not None  # noqa: S101 - checked on construction
        return severity


def finding_row(
    finding: Finding, *, seg_series_uid: str | None, seg_sop_uid: str | None, rule_version: int = 1
) -> dict[str, Any]:
    """The row of `segtools.schema.FINDINGS`; its id is a hash of the rest."""
    row: dict[str, Any] = {
        "rule": finding.code,
        "severity": finding.severity.name.lower(),
        "scope": finding.scope,
        "seg_series_uid": seg_series_uid,
        "seg_sop_uid": seg_sop_uid,
        "segment_number": finding.segment_number,
        "message": finding.message,
        "observed": finding.observed,
        "expected": finding.expected,
        "dicom_tag": finding.tag,
        "rule_version": rule_version,
    }
    digest = hashlib.sha256(json.dumps(list(row.values())).encode()).hexdigest()[:32]
    return {"finding_id": digest, **row}
