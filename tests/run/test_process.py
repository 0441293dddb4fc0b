"""One series through decode, measure and write: masks on the grid of their source images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segtools.dataset.layout import Layout
from segtools.dataset.stage import Stage
from segtools.decode.geometry.source_images import SourceImages
from segtools.run.process import Job, process_series
from segtools.series import FetchedSeries
from tests.factories.case import masks
from tests.factories.dataset import make_series
from tests.factories.image_headers import image_headers
from tests.factories.seg import UID, SegFactory, source_uid

NOWHERE = {"position": "absent", "measures": "absent", "orientation": "absent"}
SEG = SegFactory.of_masks(masks())


@pytest.fixture
def run(tmp_path):
    """Process a file with the images of some source series, named by the selection or not."""

    def process(seg, images, source=f"{UID}.5"):
        path = tmp_path / "a.dcm"
        path.write_bytes(seg.build())
        series = replace(make_series(), source_series_uid=source)
        job = Job("0" * 8, source_images=images)
        return process_series(
            FetchedSeries(series, (path,), ("0" * 32,)), job, Stage(Layout(tmp_path / "dataset"))
        )

    return process


def images(series=f"{UID}.5", slices=9):
    uid = source_uid if series == f"{UID}.5" else (lambda k: f"{series}.{k}")
    frame = f"{UID}.4" if series == f"{UID}.5" else "2.25.7"
    return SourceImages({series: image_headers(SEG.affine, (slices, *SEG.shape), uid, series, frame)})


def counts(done):
    return {row["segment_number"]: row["voxel_count"] for row in done.segments}


def codes(done):
    return {row["rule"] for row in done.findings}


@pytest.mark.parametrize("places", [{}, NOWHERE])
def test_on_the_grid_of_the_source(run, places):
    done = run(SEG.but(places=places), images())
    assert done.outcome.error_code is None
    assert counts(done) == {number: np.count_nonzero(mask) for number, mask in masks().items()}
    assert "padded-to-source" in codes(done)
    assert ("geometry-from-source" in codes(done)) is bool(places)


def test_the_source_at_hand_is_another_one(run):
    done = run(SEG, images("2.25.3"), source="2.25.4")
    assert (done.outcome.error_code, "source-grid-unknown" in codes(done)) == (None, True)
    assert run(SEG.but(places=NOWHERE), images("2.25.3"), source="2.25.4").outcome.error_code == "no-geometry"


def test_no_grid_is_wanted(run):
    assert not {"source-grid-unknown", "padded-to-source"} & codes(run(SEG, None))


def test_a_file_that_does_not_say_what_was_segmented(run):
    nameless = SEG.but(edit=lambda seg: delattr(seg, "ReferencedSeriesSequence"))
    assert "source-series-unknown" in codes(run(nameless, None, source=None))
    assert "source-series-unknown" not in codes(run(nameless, None))
    assert "source-series-unknown" not in codes(run(SEG, None, source=None))
