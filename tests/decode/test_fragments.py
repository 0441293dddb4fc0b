"""Fragments and offset tables of every kind, in every codec: both readings find the same frames."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from segtools.decode import read
from segtools.decode.verify import verify
from segtools.errors import SegError
from tests.factories import seg as S
from tests.factories.case import labelled, masks
from tests.factories.seg import SegFactory

LABELS = labelled((3, 34, 37), (1, 2, 3))
FILES = {
    "1 bit": SegFactory.of_masks(masks((3, 34, 37))),
    "8 bits": SegFactory.of_labels(LABELS),
    "16 bits": SegFactory.of_labels(LABELS.astype(np.uint16) * 300),
}
TELLING = (S.RLE, S.JPEG_LS, S.JPEG_2000, S.JPEG_LOSSLESS)
"""Codecs whose frames begin with something that can be known again."""
SILENT = (S.DEFLATED_FRAME, S.ENCAPSULATED_UNCOMPRESSED)
TABLES = ("none", "empty", "basic", "wrong", "outside", "extended")


@pytest.mark.parametrize("syntax", [*TELLING, *SILENT])
@pytest.mark.parametrize("name", FILES)
def test_every_table(name, syntax):
    if name == "16 bits" and syntax == S.JPEG_LOSSLESS:
        pytest.skip("no library of ours decodes it")
    expected = read(FILES[name].build())
    for table, fragments in itertools.product(TABLES, (1, 3)):
        data = FILES[name].but(syntax=syntax, offsets=table, fragments=fragments).build()
        if syntax in SILENT and fragments > 1 and table not in ("basic", "extended"):
            # Nothing tells the fragments of such frames apart but a table that is right.
            with pytest.raises(SegError) as caught:
                read(data)
            assert caught.value.code == "frame-count-mismatch"
            continue
        volume = read(data)
        for segment in expected.segments:
            np.testing.assert_array_equal(volume.mask(segment.number), expected.mask(segment.number))
        assert verify(data, volume).segments == len(expected.segments)
