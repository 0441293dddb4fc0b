"""The errors of this project, and how they read.

::

    SegtoolsError                        everything below; `.code`, `.attrs`, `.exit_code`
    ├── UsageError (ValueError)          exit 2: what the caller asked for cannot be
    │   ├── SpecError                    cohort files and settings
    │   ├── QueryError                   query folders
    │   ├── MissingError (LookupError)   a named thing does not exist
    │   └── DatasetError                 a dataset folder is not ours, locked, or of another version
    ├── SelectError                      exit 2: the question has no answer (no match, unknown code)
    ├── EnvironmentProblem (OSError)     exit 4: credentials, disk, network, servers
    ├── SegError (ValueError)            a DICOM file: what can't be right
    │   ├── NotSegError                  not a DICOM SEG at all
    │   ├── CorruptSegError              contradicts itself or ends early
    │   └── UnsupportedSegError          sound, but no label map on one grid
    ├── FetchError (OSError)             an object could not be had, or is not what was promised
    │   └── TransientFetchError          … for now (`Transient`)
    ├── WriteError (OSError)             a file of the dataset could not be written
    └── RunError (RuntimeError)          the machinery of a run

`Transient` marks what may go away by itself: retries ask `isinstance(error, Transient)` and nothing
else. All of them survive pickling, so they cross process borders as they are.
"""

from __future__ import annotations

from typing import Any, Self

from segtools.codes import CODES
from segtools.showable import showable


class Transient:
    """Mixin: trying again later may help."""


class SegtoolsError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    code : str
        Stable kebab-case code; one of `segtools.codes.CODES`.
    message : str
        One sentence: tag and keyword where there is one, the bad value, the rule. Values from files may
        stand in it as they are: it is made `segtools.showable`, as the hint is.
    hint : str, optional
        What to do; default: the code's remedy.
    **attrs
        Structured fields (``path``, ``tag``, ``keyword``, ``value`` …); must pickle.
    """

    exit_code = 1

    def __init__(self, code: str, message: str, *, hint: str | None = None, **attrs: Any) -> None:
        if code not in CODES or CODES[code].severity is not None:
            raise AssertionError(f"{code!r} is no error code of segtools.codes")
        self.code = code
        self.message = showable(message)
        self.hint = CODES[code].remedy if hint is None else showable(hint)
        super().__init__(self.message)
        self.attrs = attrs

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.code, self.message, self.hint, self.attrs)

    def with_attrs(self, **attrs: Any) -> Self:
        """The same error with more fields (which file, which series)."""
        self.attrs = {**self.attrs, **attrs}
        return self


def _rebuild(
    cls: type[SegtoolsError], code: str, message: str, hint: str, attrs: dict[str, Any]
) -> SegtoolsError:
    return cls(code, message, hint=hint, **attrs)


class UsageError(SegtoolsError, ValueError):
    """What the caller asked for cannot be."""

    exit_code = 2


class SpecError(UsageError):
    """A cohort file or a setting."""


class QueryError(UsageError):
    """A query folder."""


class MissingError(UsageError, LookupError):
    """A named thing does not exist."""


class DatasetError(UsageError):
    """A dataset folder is not ours, is locked, or of another version."""


class SelectError(SegtoolsError):
    """The question has no answer."""

    exit_code = 2


class EnvironmentProblem(SegtoolsError, OSError):
    """Credentials, disk, network, servers."""

    exit_code = 4


class SegError(SegtoolsError, ValueError):
    """A DICOM file cannot be read as what it claims to be."""


class NotSegError(SegError):
    """Not a DICOM SEG at all."""


class CorruptSegError(SegError):
    """The file contradicts itself or ends early."""


class UnsupportedSegError(SegError):
    """The file is sound, but no label map on one grid."""


class FetchError(SegtoolsError, OSError):
    """An object could not be had, or is not what was promised."""


class TransientFetchError(FetchError, Transient):
    """An object could not be had for now."""


class WriteError(SegtoolsError, OSError):
    """A file of the dataset could not be written."""

    exit_code = 4


class CompareError(SegtoolsError):
    """Two segments cannot be compared."""


class ExportError(SegtoolsError):
    """A dataset, or a case of it, cannot be expressed in another layout."""

    exit_code = 2


class RunError(SegtoolsError, RuntimeError):
    """The machinery of a run failed."""
