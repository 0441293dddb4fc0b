"""What must hold for any bytes; with atheris, a coverage-guided fuzzer of it.

``python -m tests.decode.fuzz_target -max_total_time=600`` fuzzes for ten minutes, starting from the
corpus that the factories make. Bytes that crash it are printed in Base64.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import tempfile
from pathlib import Path
from types import FunctionType

import numpy as np

from segtools.decode import DecodeOptions, read, read_header, read_parts
from segtools.decode.verify import verify
from segtools.errors import SegError
from tests.factories import seg as S
from tests.factories.case import labelled, masks
from tests.factories.seg import SegFactory

MAX_BYTES = 16 << 20
OPTIONS = DecodeOptions(max_bytes=MAX_BYTES)


def corpus() -> dict[str, bytes]:
    """Small sound files of every kind."""
    of, labels, wide = masks((2, 5, 7)), labelled((2, 5, 7)), masks((2, 32, 33), (1,))
    binary, label_map = SegFactory.of_masks(of), SegFactory.of_labels(labels, padding_value=0)
    fractions = SegFactory.of_masks({1: labels * 50}, kind="FRACTIONAL")
    made = {
        "binary": binary,
        "undefined": binary.but(undefined_length=True),
        "implicit": binary.but(syntax=S.IMPLICIT),
        "big-endian": binary.but(syntax=S.BIG_ENDIAN),
        "deflated": binary.but(syntax=S.DEFLATED),
        "label-map": label_map,
        "label-map-16": SegFactory.of_labels(labels.astype(np.uint16)),
        "fractional": fractions,
        "RLE": label_map.but(syntax=S.RLE),
        "RLE-extended": binary.but(syntax=S.RLE, offsets="extended"),
        "deflated-frames": binary.but(syntax=S.DEFLATED_FRAME),
        "JPEG-2000": SegFactory.of_masks(wide, syntax=S.JPEG_2000),
        "JPEG-LS": SegFactory.of_masks(masks((2, 9, 11), (1,)), syntax=S.JPEG_LS),
        "JPEG-LS-fragments": label_map.but(syntax=S.JPEG_LS, fragments=3),
        "JPEG-lossless": label_map.but(syntax=S.JPEG_LOSSLESS),
        "JPEG": fractions.but(syntax=S.JPEG_BASELINE),
        "bare": binary.but(preamble=False, meta=False),
    }
    return {name: seg.build() for name, seg in made.items()}


def check_one(data: bytes) -> None:
    """Read in every way; anything but a `SegError` or a sound volume is a defect."""
    with contextlib.suppress(SegError):
        read_header(data)
    try:
        volume = read(data, options=OPTIONS)
    except SegError as error:
        if error.code in ("multiple-orientations", "temporal-frames", "irregular-spacing"):
            with contextlib.suppress(SegError):
                read_parts(data, options=OPTIONS)
        return
    arrays = [*volume.layers, *volume.fractions.values()]
    assert sum(a.nbytes for a in arrays) <= MAX_BYTES
    assert all(a.shape == volume.grid.shape for a in arrays)
    assert np.isfinite(volume.grid.affine_lps).all()
    assert abs(np.linalg.det(volume.grid.affine_lps)) > 0
    numbers = {s.number for s in volume.segments} | {0}
    with contextlib.suppress(SegError):
        verify(data, volume)
    for layer in volume.layers:
        assert {int(n) for n in np.unique(layer)} <= numbers
    for number in numbers - {0}:
        assert volume.mask(number).shape == volume.grid.shape


def _is_ours(module: str | None) -> bool:
    return module is not None and module.startswith("segtools.decode")


def main() -> None:
    import atheris

    for function in gc.get_objects():  # ours alone: all that is loaded takes minutes
        if isinstance(function, FunctionType) and _is_ours(function.__module__):
            atheris.instrument_func(function)
    with tempfile.TemporaryDirectory() as folder:
        for name, data in corpus().items():
            Path(folder, name).write_bytes(data)
        options = [f"-artifact_prefix={folder}/", "-rss_limit_mb=2048", "-timeout=90", "-max_len=65536"]
        atheris.Setup([sys.argv[0], folder, *options, *sys.argv[1:]], check_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
