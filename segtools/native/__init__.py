"""The native core: decoding's inner loops in C, where a binary was built.

Nobody needs it: everything it does, NumPy does too, and both are tested to give the same. It is built
by ``make env`` where a compiler is, or by ``python -m segtools.native.build``; whoever has no binary,
or one of another version, works with NumPy. ``idcseg --version`` says which.

C by Python's limited API, for three reasons: one binary per platform serves all Python versions from
3.11 on; any C compiler builds it in two seconds, without a package to install; and its inner loops are
a few hundred lines that need nothing of a language but pointers and loops. Arrays cross the border by
the buffer protocol, so that it does not depend on NumPy's headers either.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

INTERFACE = 2
"""Of the functions in ``_core``; changes with their parameters, so that an old binary is left alone."""


def _load() -> tuple[ModuleType | None, str]:
    """The core, or why there is none."""
    if sys.byteorder != "little":
        return None, "this machine is big endian"
    try:
        from segtools.native import _core
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) or "_core" in str(error)
        return None, "not built" if missing else f"cannot be loaded: {error}"
    if _core.INTERFACE != INTERFACE:
        return None, "built from other sources; run python -m segtools.native.build"
    return _core, ""


_LOADED, _WHY_NOT = _load()
_in_use = True


def core() -> ModuleType | None:
    """The native core; None where NumPy is to do it."""
    return _LOADED if _in_use else None


@contextlib.contextmanager
def numpy_only() -> Iterator[None]:
    """Work with NumPy inside, in the whole process: for tests and comparisons."""
    global _in_use
    before, _in_use = _in_use, False
    try:
        yield
    finally:
        _in_use = before


def description() -> str:
    """Which core is at work, in words."""
    if core() is not None:
        return "native core"
    return f"NumPy (native core: {_WHY_NOT or 'switched off'})"
