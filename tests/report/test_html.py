import base64
import hashlib
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import duckdb
import nibabel as nib
import numpy as np
import pytest

from segtools.codes import CODES
from segtools.errors import WriteError
from segtools.report import html
from segtools.report.html import Limits, page, render, snippets
from segtools.report.summary import MAXIMUM_ROWS, summarize
from segtools.report.thumbnails import Thumbnail
from tests.report.rows import finding_row, segment_row, series_row, write_dataset

VOID = {"meta", "img", "br", "link", "input", "hr"}
EVIL = '<script>alert(1)</script><img src=x onerror=alert(1)>"\' onload="x'


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, text, and whether tags balance."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.text = [], [], []
        self.feed(source)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())


def rows():
    ok = series_row("1.1")
    failed = series_row(
        "1.2", status="failed", error_code="truncated", error_message="ends at 7", volume_count=0
    )
    return {
        "series": [ok, failed, series_row("1.3", status="warned", license="CC BY-NC 4.0")],
        "segments": [segment_row(ok), segment_row(ok, 2, structure="spleen", volume_ml=0.0, voxel_count=0)],
        "findings": [finding_row("padded-frames", severity="warning", seg_series_uid="1.3")],
    }


def thumb(**changes):
    return Thumbnail(
        **{
            "seg_series_uid": "1.1",
            "collection_id": "nlst",
            "patient_id": "100001",
            "segment_count": 3,
            "legend": (("liver", "#DD8265"),),
            "pictures": {"coronal": b"png", "axial": b"png"},
        }
        | changes
    )


def hostile():
    row = series_row(
        EVIL,
        collection_id=f"\u202e{EVIL}",
        patient_id="عربي\x00",
        status="failed",
        error_code="truncated",
        error_message=EVIL + "x" * 100_000,
        license=EVIL,
        source_doi=f"javascript:{EVIL}",
    )
    names = [EVIL, "a" * 100_000, "كبد أيمن", "", "{{ 7 * 7 }}", "\u202egnp.exe"]
    return {
        "series": [row],
        "segments": [
            segment_row(row, n, structure=name, label=None if n % 2 else name, color_hex=EVIL)
            for n, name in enumerate(names)
        ],
        "findings": [finding_row(EVIL, message=EVIL, severity="info", seg_series_uid=EVIL)],
    }


def test_every_section_says_what_the_tables_hold(dataset):
    source = page("liver-ct", summarize(dataset(**rows())), [thumb()])
    words = Page(source).words
    assert "2 segments of 2 structures in 1 patient: " in words
    assert "Imaging Data Commons (release 25)" in words
    assert "truncated" in words
    assert CODES["truncated"].meaning in words
    assert CODES["truncated"].remedy in words
    assert "ends at 7" in words
    assert "Each frame is padded to a whole byte" in words
    assert "CC BY-NC 4.0 1 1 not allowed" in words
    assert "https://doi.org/10.5281/zenodo.8347012" in source


def test_an_own_archive_has_no_release(dataset):
    series = [series_row(idc_version=None)]
    words = Page(page("own", summarize(dataset(series=series)))).words
    assert "of an own archive" in words
    assert "Imaging Data Commons" not in words


def test_nothing_runs_and_nothing_is_loaded(dataset):
    seen = Page(page("liver-ct", summarize(dataset(**rows())), [thumb()]))
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & {t for t, _ in seen.elements}
    for tag, attrs in seen.elements:
        assert not [name for name in attrs if name.startswith("on") or name == "style"], (tag, attrs)
        assert attrs.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
        assert attrs.get("href", "#").startswith(("#", "https://doi.org/"))


def test_the_policy_allows_our_style_sheet_and_no_other(dataset):
    source = page("liver-ct", summarize(dataset(**rows())))
    (policy,) = [m["content"] for m in Page(source).all("meta") if "http-equiv" in m]
    style = re.search(r"<style>(.*?)</style>", source, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert "url(" not in style
    assert "@import" not in style


def test_strings_of_strangers_stay_text(dataset):
    thumbs = [thumb(collection_id=EVIL, patient_id=EVIL, legend=((EVIL, EVIL),))]
    thumbs.append(thumb(pictures={}, problem=EVIL))
    source = page(EVIL, summarize(dataset(**hostile())), thumbs, made_by={"decoder": EVIL})
    seen = Page(source)
    assert not seen.all("script")
    assert {attrs["src"][:5] for attrs in seen.all("img")} == {"data:"}
    assert not [attrs for _, attrs in seen.elements if "onerror" in attrs or "onload" in attrs]
    assert "<script>alert(1)</script>" in seen.words, "shown as it is, as text"
    assert "javascript:" not in "".join(attrs.get("href", "") for attrs in seen.all("a"))
    assert "\u202e" not in source
    assert "\x00" not in source
    assert "{{ 7 * 7 }}" in seen.words
    assert "كبد أيمن" in seen.words
    assert "a" * 200 not in source
    assert len(source) < 200_000


def test_it_is_accessible(dataset):
    seen = Page(page("liver-ct", summarize(dataset(**rows())), [thumb()]))
    tags = [tag for tag, _ in seen.elements]
    ids = {attrs["id"] for _, attrs in seen.elements if "id" in attrs}
    assert [attrs["lang"] for attrs in seen.all("html")] == ["en"]
    assert tags.count("main") == tags.count("h1") == tags.count("header") == tags.count("footer") == 1
    assert tags.count("table") == tags.count("caption") > 3
    assert all(attrs.get("scope") in {"col", "row"} for attrs in seen.all("th"))
    assert all(attrs["alt"] for attrs in seen.all("img"))
    assert all("aria-label" in attrs or "aria-hidden" in attrs for attrs in seen.all("svg"))
    assert all(attrs["aria-labelledby"] in ids for attrs in seen.all("section"))
    assert {attrs["href"][1:] for attrs in seen.all("a") if attrs["href"].startswith("#")} <= ids
    assert len(ids) == len([1 for _, attrs in seen.elements if "id" in attrs]), "ids are unique"


def test_alternative_texts_name_view_and_structures(dataset):
    seen = Page(page("x", summarize(dataset()), [thumb()]))
    assert [attrs["alt"] for attrs in seen.all("img")] == [
        "Coronal projection of 3 segments: liver and others",
        "Axial projection of 3 segments: liver and others",
    ]


def test_a_missing_picture_says_why(dataset):
    words = Page(page("x", summarize(dataset()), [thumb(pictures={}, problem="The file is gone.")])).words
    assert "No picture: The file is gone." in words


def test_an_empty_dataset_has_a_page(dataset):
    words = Page(page("none", summarize(dataset()))).words
    assert "The dataset holds no series." in words
    assert "There are no segments." in words
    assert "Nothing had to be repaired" in words


def test_long_lists_are_cut_and_say_so(dataset):
    row = series_row()
    segments = [segment_row(row, n, structure=f"s{n:03}") for n in range(MAXIMUM_ROWS + 30)]
    seen = Page(page("x", summarize(dataset(series=[row], segments=segments)), limits=Limits(structures=50)))
    assert f"… and {MAXIMUM_ROWS - 20} more, in tables/segments ." in seen.words
    assert "s049" in seen.words
    assert "s050" not in seen.words


def test_the_fullest_page_is_small(dataset):
    series = [
        series_row(
            f"1.{n}",
            collection_id=f"{n:03}{'c' * 300}",
            license=f"{n:03}{'l' * 300}",
            source_doi=f"10.1000/{n:03}{'d' * 150}",
        )
        for n in range(MAXIMUM_ROWS)
    ]
    for n, row in enumerate(series[:100]):
        row |= {"status": "failed", "error_code": f"{n:03}{'e' * 300}", "error_message": "m" * 3000}
    segments = [segment_row(series[0], n, structure=f"{n:03}{'s' * 300}") for n in range(MAXIMUM_ROWS)]
    findings = [finding_row(f"{n:03}{'r' * 300}", message="m" * 3000) for n in range(MAXIMUM_ROWS)]
    rng = np.random.default_rng(0)
    png = rng.bytes(20_000)
    legend = tuple((f"{n}{'s' * 300}", "#ffffff") for n in range(5))
    thumbs = [thumb(pictures={"coronal": png, "axial": png}, legend=legend) for _ in range(12)]
    source = page("x" * 1000, summarize(dataset(series=series, segments=segments, findings=findings)), thumbs)
    assert len(source.encode()) < 2_000_000


@pytest.fixture
def complete(tmp_path):
    """A dataset with one volume."""
    affine = np.diag([-1.0, -1, 2, 1])
    row = series_row("1.1")
    liver = segment_row(row, 3, voxel_count=4 * 10 * 20, affine_ras_mm=affine.ravel().tolist())
    array = np.zeros((20, 48, 64), np.uint8)
    array[4:8, 10:20, 20:40] = 3
    path = tmp_path / "liver-ct" / liver["volume_path"]
    path.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), affine), path)
    return write_dataset(tmp_path / "liver-ct", [row], [liver], name="liver-ct", cohort_sha256="abcdef" * 8)


def test_render_writes_the_same_bytes_each_time(complete, tmp_path):
    first = render(complete, tmp_path / "a" / "report.html")
    assert first == tmp_path / "a" / "report.html"
    second = render(complete, tmp_path / "b.html")
    assert first.read_bytes() == second.read_bytes()
    words = Page(first.read_text("utf-8")).words
    assert "liver-ct" in words
    assert "cohort abcdefabcdefabcd ." in words
    assert str(tmp_path) not in first.read_text("utf-8")


def test_render_is_all_or_nothing(complete, tmp_path):
    blocked = tmp_path / "report.html"
    blocked.mkdir()
    with pytest.raises(WriteError):
        render(complete, blocked)
    assert not list(tmp_path.glob(".tmp-*"))


def test_the_snippets_run(complete):
    ours, sql, alone = (code for _, code in snippets(summarize(complete)))
    assert "'liver'" in ours
    shared = "\nimport numpy as np\nassert mask.sum() == 800, mask.sum()\n"
    for code in (ours, alone):
        subprocess.run([sys.executable, "-c", code + shared], cwd=complete.root, check=True, timeout=120)
    with duckdb.connect() as db:
        db.execute(f"SET file_search_path = '{complete.root}'")
        assert db.execute(sql).fetchall() == [("liver", 1, 1500.0)]


def test_snippets_take_no_stranger_s_name(dataset):
    row = series_row()
    evil = summarize(dataset(series=[row], segments=[segment_row(row, structure="x'; DROP TABLE y; --")]))
    assert all("DROP" not in code for _, code in snippets(evil))


def test_the_package_carries_its_data():
    names = {path.name for path in html._FOLDER.iterdir()}
    assert {"template.html.j2", "style.css"} <= names


def luminance(color):
    channels = [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("ink", ["text", "quiet", "accent", "ok-ink", "warned-ink", "failed-ink"])
@pytest.mark.parametrize("paper", ["page", "raised"])
def test_contrast_is_aa(scheme, ink, paper):
    """WCAG 2.2, 1.4.3: text has a contrast of 4.5 at least."""
    style = (html._FOLDER / "style.css").read_text("utf-8")
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in style.split("@media")[:2])
    colors = light if scheme == "light" else dark
    low, high = sorted(luminance(colors[name]) for name in (ink, paper))
    assert (high + 0.05) / (low + 0.05) >= 4.5


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium")
@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_shows_it_without_complaint(dataset, tmp_path, width):
    """Chromium logs every violation of the policy and every failed load."""
    path = tmp_path / "report.html"
    path.write_text(page("liver-ct", summarize(dataset(**hostile())), [thumb()]), "utf-8")
    done = subprocess.run(
        [
            "chromium",
            *(
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
            ),
            *("--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--v=0"),
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},2000",
            f"--screenshot={tmp_path / 'shot.png'}",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert (tmp_path / "shot.png").stat().st_size > 10_000
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
