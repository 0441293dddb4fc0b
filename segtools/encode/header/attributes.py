"""What a segmentation takes over from its source: patient, study, frame of reference.

Each value is copied if it is valid, repaired with a finding if it can be, or the source is refused
with a code. What the standard wants to be there (type 2) is written empty where the source lacks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from segtools.encode.dicom.dictionary import DICTIONARY
from segtools.encode.dicom.text import fit, is_uid
from segtools.errors import UsageError
from segtools.finding import Finding
from segtools.terminology.concepts import Concept

if TYPE_CHECKING:
    from segtools.encode.header.headers import SourceHeader


class _Rule(NamedTuple):
    """How one attribute is taken over.

    Attributes
    ----------
    keyword : str
    needed : bool
        Type 2: written empty where the source has none; else left out (type 3).
    terms : frozenset of str
        The only values allowed, if not empty.
    several : bool
        Whether backslashes part several values.
    """

    keyword: str
    needed: bool = False
    terms: frozenset[str] = frozenset()
    several: bool = False


_YES_NO = frozenset({"YES", "NO"})
RULES = (
    _Rule("PatientName", needed=True),
    _Rule("PatientID", needed=True),
    _Rule("IssuerOfPatientID"),
    _Rule("PatientBirthDate", needed=True),
    _Rule("PatientSex", needed=True, terms=frozenset({"M", "F", "O"})),
    _Rule("PatientAge"),
    _Rule("PatientSize"),
    _Rule("PatientWeight"),
    _Rule("PatientIdentityRemoved", terms=_YES_NO),
    _Rule("DeidentificationMethod", several=True),
    _Rule("LongitudinalTemporalInformationModified", terms=frozenset({"UNMODIFIED", "MODIFIED", "REMOVED"})),
    _Rule("StudyDate", needed=True),
    _Rule("StudyTime", needed=True),
    _Rule("ReferringPhysicianName", needed=True),
    _Rule("StudyID", needed=True),
    _Rule("AccessionNumber", needed=True),
    _Rule("StudyDescription"),
    _Rule("PositionReferenceIndicator", needed=True),
    _Rule("BodyPartExamined"),
    _Rule("ClinicalTrialSponsorName"),
    _Rule("ClinicalTrialProtocolID"),
    _Rule("ClinicalTrialProtocolName"),
    _Rule("ClinicalTrialSiteID"),
    _Rule("ClinicalTrialSiteName"),
    _Rule("ClinicalTrialSubjectID"),
    _Rule("ClinicalTrialSubjectReadingID"),
)
_TRIAL = ("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialSubjectID")
_TRIAL_EMPTY = ("ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName")


class Attributes(NamedTuple):
    """Valid attributes of the segmentation, by keyword, and what was repaired."""

    values: dict[str, str | tuple[str, ...]]
    codes: tuple[Concept, ...]
    """DeidentificationMethodCodeSequence."""
    findings: tuple[Finding, ...]


def take_over(header: SourceHeader) -> Attributes:
    """Take over the attributes of `RULES` from an image's header."""
    values: dict[str, str | tuple[str, ...]] = {}
    findings: list[Finding] = []
    for rule in RULES:
        value = _value(header, rule, findings)
        if value or rule.needed:
            values[rule.keyword] = value
        if rule.needed and not header.has(rule.keyword):
            findings.append(_absent(rule.keyword))
    codes = tuple(
        code for item in header.items("DeidentificationMethodCodeSequence") if (code := _code(item))
    )
    if values.get("PatientIdentityRemoved") == "YES" and not codes and "DeidentificationMethod" not in values:
        del values["PatientIdentityRemoved"]  # type 1C: how it was removed must be said (PS3.3 C.7.1.1)
        findings.append(
            _repaired(
                "PatientIdentityRemoved", "YES", "the source does not say how; the attribute is left out"
            )
        )
    _settle_trial(values)
    return Attributes(values, codes, tuple(findings))


def required_uid(
    header: SourceHeader, keyword: str, name: str, *, meta: str = ""
) -> tuple[str, Finding | None]:
    """UID without which no segmentation can be written.

    Parameters
    ----------
    header : SourceHeader
    keyword : str
    name : str
        Of the image, for the message.
    meta : str
        Keyword of the file meta group that says the same.

    Raises
    ------
    UsageError
        ``source-attribute-missing``: absent or no UID, and no second witness.
    """
    text = (header.text(keyword) or "").strip()
    if is_uid(text):
        return text, None
    other = header.meta_uid(meta) if meta else None
    if other and is_uid(other):
        return other, _repaired(keyword, text, f"taken from the file meta group: {other}")
    tag = DICTIONARY[keyword][0]
    raise UsageError(
        "source-attribute-missing",
        f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X}) of the source image {name!r} is "
        f"{'absent' if not text else f'no UID: {text[:64]!r}'}.",
        keyword=keyword,
        value=text[:64],
    )


def _value(header: SourceHeader, rule: _Rule, findings: list[Finding]) -> str | tuple[str, ...]:
    vr = DICTIONARY[rule.keyword][1]
    text = header.text(rule.keyword)
    if text is None:
        return ""
    parts = text.split("\\") if rule.several else [text]
    fitted = []
    for part in parts:
        value, change = fit(vr, part)
        if value and rule.terms and value not in rule.terms:
            change = f"{value!r} is none of {', '.join(sorted(rule.terms))}; left empty"
            value = ""
        if change:
            findings.append(_repaired(rule.keyword, part, change))
        if value:
            fitted.append(value)
    return tuple(fitted) if rule.several else (fitted[0] if fitted else "")


def _code(item: SourceHeader) -> Concept | None:
    value, scheme = item.text("CodeValue") or "", item.text("CodingSchemeDesignator") or ""
    meaning = fit("LO", item.text("CodeMeaning") or "")[0]
    if (
        fit("SH", value) != (value, None)
        or fit("SH", scheme) != (scheme, None)
        or not (value and scheme and meaning)
    ):
        return None
    return Concept(value, scheme, meaning)


def _settle_trial(values: dict[str, str | tuple[str, ...]]) -> None:
    """Clinical Trial Subject (PS3.3 C.7.1.3) is whole or not there."""
    whole = all(values.get(keyword) for keyword in _TRIAL[:2]) and (
        values.get("ClinicalTrialSubjectID") or values.get("ClinicalTrialSubjectReadingID")
    )
    for keyword in (*_TRIAL, *_TRIAL_EMPTY, "ClinicalTrialSubjectReadingID"):
        if not whole:
            values.pop(keyword, None)
        elif keyword in _TRIAL_EMPTY:
            values.setdefault(keyword, "")


def _absent(keyword: str) -> Finding:
    tag = DICTIONARY[keyword][0]
    return Finding(
        "source-attribute-absent",
        f"{keyword} is absent from the source; it is written empty.",
        tag=f"({tag >> 16:04X},{tag & 0xFFFF:04X})",
    )


def _repaired(keyword: str, observed: str, change: str) -> Finding:
    tag = DICTIONARY[keyword][0]
    return Finding(
        "source-attribute-repaired",
        f"{keyword} of the source: {change}.",
        observed=observed[:64],
        tag=f"({tag >> 16:04X},{tag & 0xFFFF:04X})",
    )
