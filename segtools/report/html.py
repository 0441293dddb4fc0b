"""The report as one HTML page: no script, nothing loaded from elsewhere, the same bytes each time."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from segtools.codes import CODES, Code, Severity
from segtools.files import write_bytes
from segtools.report import charts, text
from segtools.report.projection import SIDE
from segtools.report.summary import Summary, summarize
from segtools.report.thumbnails import Thumbnail, thumbnails
from segtools.schema import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segtools.dataset.reader import Dataset

_FOLDER = Path(__file__).parent

_STATUS_MEANING = {
    "ok": "as expected",
    "warned": "decoded under an assumption or after a repair",
    "failed": "no result",
    "retired": "no longer in the selection",
}

_SECTIONS = {
    "outcome": "Outcome",
    "structures": "Structures",
    "findings": "Findings",
    "pictures": "Masks",
    "sources": "Sources, licences, citations",
    "use": "Load the data",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Rows of each list that are shown; below it the page says how many more there are."""

    structures: int = 110
    findings: int = 60
    failures: int = 40
    collections: int = 40
    licenses: int = 20
    citations: int = 40


def render(dataset: Dataset, path: Path) -> Path:
    """Write the report of a dataset to `path`, all or nothing.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    DatasetError
        ``dataset-invalid``: a table cannot be read.
    WriteError, EnvironmentProblem
        The page could not be written.
    """
    name = str(dataset.manifest.get("name") or dataset.root.resolve().name)
    made_by = {
        "decoder": str(dataset.manifest.get("decoder") or ""),
        "cohort": str(dataset.manifest.get("cohort_sha256") or "")[:16],
    }
    content = page(name, summarize(dataset), thumbnails(dataset), made_by=made_by)
    write_bytes(path, content.encode())
    return path


def page(
    name: str,
    summary: Summary,
    pictures: Sequence[Thumbnail] = (),
    *,
    made_by: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> str:
    """Build the page from what was counted and drawn.

    Parameters
    ----------
    name : str
        Of the dataset.
    summary : Summary
    pictures : sequence of Thumbnail
    made_by : mapping of str to str, optional
        Shown in the footer: decoder, hash of the cohort file.
    limits : Limits, optional
    """
    limits = limits or Limits()
    style = (_FOLDER / "style.css").read_text("utf-8")
    shown = summary.structures[: limits.structures]
    scale = charts.LogScale.over(shown)
    return _template().render(
        name=name,
        s=summary,
        limits=limits,
        style=Markup(style),  # noqa: S704 - our own file
        style_hash=f"sha256-{base64.b64encode(sha256(style.encode()).digest()).decode()}",
        sections=[(key, title) for key, title in _SECTIONS.items() if key != "pictures" or pictures],
        figures=_figures(summary),
        status_meaning=_STATUS_MEANING,
        severities=[severity.name.lower() for severity in Severity],
        outcome_bar=charts.outcome_bar(summary.outcomes),
        volume_axis=charts.volume_axis(scale),
        structures=[(s, charts.volume_strip(s, scale), charts.swatch(s.color_hex)) for s in shown],
        thumbnails=pictures,
        side=SIDE,
        snippets=snippets(summary),
        format_version=FORMAT_VERSION,
        made_by=made_by or {},
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": text.count,
        "size": text.size,
        "milliliters": text.milliliters,
        "plain": text.plain,
        "prose": text.prose,
        "doi_url": text.doi_url,
        "entry": lambda code: CODES.get(code, Code("", "", "")),
        "base64": lambda data: base64.b64encode(data).decode("ascii"),
    }
    environment.globals["swatch"] = charts.swatch
    return environment.get_template("template.html.j2")


def _figures(summary: Summary) -> list[tuple[str, str]]:
    return [
        ("Series", text.count(summary.series_count)),
        ("Segments", text.count(summary.segment_count)),
        ("Structures", text.count(summary.structure_count)),
        ("Patients", text.count(summary.patient_count)),
        ("Collections", text.count(summary.collection_count)),
        (f"Volumes, from {text.size(summary.source_bytes)}", text.size(summary.volume_bytes)),
    ]


def snippets(summary: Summary) -> list[tuple[str, str]]:
    """Give three ways to load the data, with a structure that the dataset has: title and code."""
    known = (s.structure for s in summary.structures if re.fullmatch(r"[a-z0-9_]{1,60}", s.structure))
    structure = next(known, "liver")
    return [(title, code.replace("STRUCTURE", structure)) for title, code in _SNIPPETS]


_SNIPPETS = (
    (
        "Python, with this project",
        """import segtools

dataset = segtools.open(".")
rows = dataset.segments("structure = 'STRUCTURE' AND volume_ml > 0")
mask = dataset.mask(rows["segment_id"][0].as_py())  # bool array, axes (slice, row, column)
""",
    ),
    (
        "SQL, with DuckDB alone",
        """SELECT structure, count(*) AS segments, median(volume_ml) AS median_ml
FROM 'tables/segments/*.parquet'
WHERE voxel_count > 0
GROUP BY structure
ORDER BY segments DESC;
""",
    ),
    (
        "Python, with pyarrow and nibabel alone",
        """import nibabel
import pyarrow.parquet as pq

wanted = [("structure", "=", "STRUCTURE"), ("voxel_count", ">", 0)]
rows = pq.read_table("tables/segments", filters=wanted)
row = rows.slice(0, 1).to_pylist()[0]
image = nibabel.load(row["volume_path"])
mask = image.dataobj[...] == row["segment_number"]
""",
    ),
)
