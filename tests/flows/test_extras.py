"""Reading and loading need the core only; other commands name the extra that they lack."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from flows.cli import EXTRA_OF
from tests.factories.seg import SegFactory

WITHOUT_EXTRAS = f"""
import sys

class Absent:
    names = {sorted(EXTRA_OF)!r}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
from flows.cli import main
main()
"""


def idcseg(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


def test_a_file_is_decoded_with_the_core_alone(tmp_path):
    labels = np.zeros((2, 5, 6), np.uint8)
    labels[1, 1:3, 2:4] = 1
    (tmp_path / "seg.dcm").write_bytes(SegFactory.of_labels(labels).build())
    done = idcseg("decode", "seg.dcm", "-o", "out", "--verify", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "out").rglob("*.nii.gz"))


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("plan", "lidc-nodules"), "pipeline"),
        (("run", "lidc-nodules", "-o", "x"), "pipeline"),
    ],
)
def test_a_command_names_the_extra_it_lacks(tmp_path, arguments, extra):
    done = idcseg(*arguments, cwd=tmp_path)
    assert done.returncode == 4
    assert "[extra-missing]" in done.stderr
    assert f"idc-cohort-pipeline[{extra}]" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_extra_named_is_declared():
    import tomllib
    from pathlib import Path

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert set(EXTRA_OF.values()) <= project["optional-dependencies"].keys()
