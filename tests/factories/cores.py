"""The two cores of the decoder: every test of voxels and measures holds for both."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from segtools import native

if TYPE_CHECKING:
    from collections.abc import Iterator

CORES = ("numpy", "native") if native.core() is not None else ("numpy",)
"""Those that are here; without a compiler, there is no native one."""


@contextlib.contextmanager
def working_with(core: str) -> Iterator[None]:
    """Decode with that core inside."""
    with native.numpy_only() if core == "numpy" else contextlib.nullcontext():
        yield


def both_cores() -> Any:
    """Make a fixture that runs every test of a module once on each core."""

    @pytest.fixture(scope="module", autouse=True, params=("numpy", "native"))
    def core(request: pytest.FixtureRequest) -> Iterator[str]:
        if request.param not in CORES:
            pytest.skip(f"no native core: {native.description()}")
        with working_with(request.param):
            yield request.param

    return core
