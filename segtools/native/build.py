"""Build the native core beside its sources: ``python -m segtools.native.build``.

Needs a C compiler and Python's headers; where there are none, it says so and everything works with
NumPy. The flags are the baseline of the platform: a binary that is built here runs on any machine of
the same kind.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCES = ("module.c", "paint.c", "measure.c", "project.c")
FLAGS = ("-O3", "-std=c11", "-fPIC", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-fvisibility=hidden")


class CannotBuildError(Exception):
    """There is no compiler, or it failed; the message says which."""


def compiler() -> list[str]:
    """The command of a C compiler: the one Python was built with, or what the system has.

    Raises
    ------
    CannotBuildError
    """
    built_with = shlex.split(sysconfig.get_config_var("CC") or "")
    for command in (built_with, ["cc"], ["gcc"], ["clang"]):
        if command and shutil.which(command[0]):
            return command
    raise CannotBuildError("there is no C compiler (cc, gcc, clang)")


def build(folder: Path = FOLDER, extra: tuple[str, ...] = ()) -> Path:
    """Compile the core into `folder`; the binary.

    Parameters
    ----------
    folder : Path
    extra : tuple of str
        Flags of the compiler, e.g. ``-fsanitize=address``.

    Raises
    ------
    CannotBuildError
    """
    if sys.platform == "win32" or sys.byteorder != "little":
        raise CannotBuildError(f"it is not built on {sys.platform}, {sys.byteorder} endian")
    headers = Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").exists():
        raise CannotBuildError(f"there are no headers of Python in {headers}")
    shared = ("-bundle", "-undefined", "dynamic_lookup") if sys.platform == "darwin" else ("-shared",)
    target = folder / "_core.abi3.so"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as made:
        unfinished = Path(made) / target.name
        command = [*compiler(), *FLAGS, *extra, *shared, f"-I{headers}"]
        command += [str(FOLDER / source) for source in SOURCES] + ["-o", str(unfinished)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotBuildError(f"{command[0]} failed:\n{done.stderr}")
        unfinished.replace(target)  # a process that has the old one loaded keeps it
    return target


def main() -> int:
    """Build; 0 too where it cannot be, unless `--required`."""
    parser = argparse.ArgumentParser("python -m segtools.native.build", description=__doc__.splitlines()[0])
    parser.add_argument("--required", action="store_true", help="fail where it cannot be built")
    required = parser.parse_args().required
    try:
        print(f"native core: {build()}", file=sys.stderr)  # noqa: T201 - a command
    except (CannotBuildError, OSError) as error:
        print(f"native core not built, NumPy does its work: {error}", file=sys.stderr)  # noqa: T201
        return int(required)
    return 0


if __name__ == "__main__":
    sys.exit(main())
