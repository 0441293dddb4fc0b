"""Our own reading of a case against what is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from segtools.codes import CODES, Severity
from segtools.decode import DecodeOptions, read, read_parts
from segtools.errors import SegError
from tests.factories.case import Answer, Case
from tests.factories.cores import CORES, working_with


def judge(case: Case) -> None:
    """Assert that `segtools.decode` reads a case right, or refuses it for the right reason; on both cores."""
    data = case.build()
    for core in CORES:
        with working_with(core):
            _judge(case, data)


def _judge(case: Case, data: bytes) -> None:
    options = DecodeOptions(**case.options)
    if case.error is not None:
        with pytest.raises(SegError) as refused:
            read(data, segments=case.segments, options=options)
        assert refused.value.code == case.error, refused.value
        if case.parts:
            parts = read_parts(data, segments=case.segments, options=options)
            assert len(parts) == len(case.parts)
            for part, right in zip(parts, case.parts, strict=True):
                same_voxels(part, right)
        return
    volume = read(data, segments=case.segments, options=options)
    assert case.answer is not None
    same_voxels(volume, case.answer, case.tolerance_mm)
    same_findings(volume, case)
    if case.check is not None:
        case.check(volume)


def same_voxels(volume: Any, right: Answer, tolerance_mm: float = 1e-6) -> None:
    """Assert the grid, and every voxel of every segment."""
    assert volume.grid.shape == right.shape
    if right.affine is not None:
        assert corner_distance(volume.grid.affine_lps, right.affine, right.shape) <= tolerance_mm
    for number, mask in right.masks.items():
        assert np.array_equal(volume.mask(number), mask), f"segment {number}"
    for number, values in right.fractions.items():
        assert np.array_equal(volume.fractions[number], values), f"segment {number}"
    known = {*right.masks, *right.fractions}
    assert {s.number for s in volume.segments} - {0} == known - {0}
    assert bool(volume.fractions) == bool(right.fractions)
    used = {int(n) for layer in volume.layers for n in np.unique(layer)} - {0}
    assert used <= known | {right.background}
    for layer in volume.layers:
        assert layer.shape == right.shape
        assert layer.flags.c_contiguous
        assert layer.dtype in (np.uint8, np.uint16)


def corner_distance(affine: np.ndarray, other: np.ndarray, shape: tuple[int, ...]) -> float:
    """Largest distance of the grid's corners under two affines, mm."""
    k, j, i = (n - 1 for n in shape)
    corners = np.array([(x, y, z, 1) for x in (0, i) for y in (0, j) for z in (0, k)], float).T
    return float(np.linalg.norm(((affine - other) @ corners)[:3], axis=0).max())


def same_findings(volume: Any, case: Case) -> None:
    """Assert that all that must be recorded is, and no false alarm."""
    codes = {finding.code for finding in volume.findings}
    assert case.findings <= codes, f"not recorded: {sorted(case.findings - codes)}"
    alarms = {c for c in codes if (CODES[c].severity or Severity.INFO) >= Severity.WARNING}
    false = alarms - case.findings - case.may
    assert not false, [f for f in volume.findings if f.code in false]
