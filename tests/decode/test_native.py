"""The native core: built where a compiler is, left alone where it does not fit, equal to NumPy, safe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from segtools import native
from segtools.decode import read
from segtools.decode.dicom.mmap import map_file
from segtools.decode.labelmap.masks import stack_masks
from segtools.decode.pixels.frames import PackedFrames
from segtools.errors import CorruptSegError
from segtools.native.build import CannotBuildError, build, compiler
from tests.decode.core_fuzz_target import load
from tests.decode.labelmap.test_masks import packed, plan_of
from tests.factories.cores import both_cores

core = both_cores()


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A core from these very sources; skipped where it cannot be built."""
    try:
        return build(tmp_path_factory.mktemp("core"))
    except CannotBuildError as error:
        pytest.skip(str(error))


def run_target(binary: Path, rounds: int, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.decode.core_fuzz_target", str(binary), str(rounds), "1"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_builds_and_agrees_with_numpy(built, core):
    if core == "numpy":
        pytest.skip("compares both")
    assert load(str(built)).INTERFACE == native.INTERFACE
    done = run_target(built, 100)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_stays_within_bounds(tmp_path, core):
    """Under address and undefined behaviour sanitiser; a find ends the process."""
    if core == "numpy":
        pytest.skip("is about the other one")
    flags = (
        "-g",
        "-O1",
        "-fno-omit-frame-pointer",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    )
    try:
        binary = build(tmp_path, flags)
        named = subprocess.run(
            [*compiler(), "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
        )
    except (CannotBuildError, subprocess.CalledProcessError) as error:
        pytest.skip(str(error))
    if not Path(named.stdout.strip()).is_absolute():
        pytest.skip("the compiler has no address sanitiser")
    done = run_target(binary, 200, LD_PRELOAD=named.stdout.strip(), ASAN_OPTIONS="detect_leaks=0")
    assert done.returncode == 0, done.stderr


def test_says_which_core_is_at_work(core):
    assert native.description().startswith("NumPy" if core == "numpy" else "native core")
    with native.numpy_only():
        assert native.core() is None
        assert native.description().startswith("NumPy")


def test_works_without_a_binary():
    """As on a machine without a compiler: the import fails, the decoder does not."""
    code = (
        "import sys; sys.modules['segtools.native._core'] = None\n"
        "from segtools import native; import segtools.decode.measure\n"
        "assert native.core() is None; print(native.description())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "NumPy (native core: not built)"


def test_another_interface_is_left_alone():
    code = (
        "import sys, types; old = types.ModuleType('segtools.native._core'); old.INTERFACE = 0\n"
        "sys.modules['segtools.native._core'] = old\n"
        "from segtools import native; assert native.core() is None; print(native.description())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "other sources" in done.stdout


def test_a_file_cut_short_meanwhile_is_an_error(tmp_path):
    if not hasattr(os, "preadv"):
        pytest.skip("the system has no preadv")
    path = tmp_path / "bits"
    path.write_bytes(bytes([255]) * 100_000)
    frames = PackedFrames(np.frombuffer(map_file(path), np.uint8), np.array([0, 400_000]), (50, 80))
    os.truncate(path, 4096)
    with pytest.raises(CorruptSegError) as caught:
        stack_masks(frames, plan_of([1, 1], [0, 1], (2, 50, 80)))
    assert caught.value.code == "truncated"


def test_frames_larger_than_the_room():
    """A frame of 2300² bits is more than the core has in memory at a time."""
    rng = np.random.default_rng(0)
    pixels = rng.random((3, 2300, 2301)) < 0.0001
    pixels[1, 0, 0] = pixels[2, 0, 0] = True
    got = stack_masks(packed(pixels), plan_of([1, 2, 3], [0, 1, 1], (2, 2300, 2301)))
    assert len(got.arrays) == 2
    assert np.array_equal(got.arrays[0][0] == 1, pixels[0])
    assert np.array_equal(got.arrays[0][1] == 2, pixels[1])
    assert np.array_equal(got.arrays[1][1] == 3, pixels[2])


def test_real_reading_uses_it(monkeypatch, core):
    """Not only the functions: `read` goes through the core that is chosen."""
    from tests.factories.cases_pixels import pixel_cases

    case = next(c for c in pixel_cases() if c.answer is not None and not c.options)
    painted = []
    import segtools.decode.labelmap.masks as masks

    for name in ("paint_masks", "paint_masks_natively"):
        real = getattr(masks, name)
        monkeypatch.setattr(masks, name, lambda *a, real=real, name=name: (painted.append(name), real(*a))[1])
    read(case.build())
    assert painted == ["paint_masks" if core == "numpy" else "paint_masks_natively"]
