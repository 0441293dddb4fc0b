"""The command line: `idcseg COMMAND`.

Commands are named by strings, so that `--help` imports none of them. stdout is data, stderr is
everything else. Exit codes: 0 ok · 1 findings of severity error · 2 usage · 3 partial (some series
failed, the rest is committed) · 4 environment (credentials, disk, network).
"""

from __future__ import annotations

import os
import sys

from cyclopts import App, Parameter

from flows.console import adapt_streams
from flows.network import keep_loopback_direct

COMMANDS = {
    "plan": ("cohort:plan", "What a cohort would select, cost and need, before anything moves."),
    "run": ("cohort:run", "Select, fetch, decode and write a cohort as a dataset: the whole pipeline."),
    "select": (
        "selection:select",
        "The series a cohort selects, as a table; or its segments, source images, viewer links.",
    ),
    "fetch": ("cohort:fetch", "Download a cohort's DICOM SEG files, each one checked."),
    "decode": ("decode:decode", "Decode one DICOM SEG or a folder of them; no cohort, no server."),
    "encode": ("encode:encode", "Encode masks as a DICOM SEG: validated before, read back after."),
    "encode-batch": ("encode_batch:encode_batch", "Encode the masks of a table; call it again to continue."),
    "transcode": (
        "transcode:transcode",
        "Store a DICOM SEG in another type or codec, or as NIfTI or NRRD; voxels proven the same.",
    ),
    "index": ("index:index", "Index a folder of DICOM SEG files in IDC's schema."),
    "mirror": (
        "index:mirror",
        "Download IDC's segmentations table and indexes of images, to select by structure and image.",
    ),
    "show": ("dataset:show", "What a dataset holds; or its rows that match a condition."),
    "check": ("dataset:check", "Read a dataset back and compare every file and row."),
    "report": ("dataset:report", "Write a dataset's report again."),
    "status": ("dataset:status", "Where a dataset stands: running or not, done, failed and why."),
    "doctor": ("doctor:doctor", "Check this machine: packages, disk, network, credentials, Prefect."),
    "compare": ("compare:compare", "Agreement of segmentations of the same images."),
    "export": ("export:export", "Write a dataset in the layout of nnU-Net, MONAI, BIDS and others."),
    "retry": ("dataset:retry", "Try failed series of a dataset again, by error code."),
    "structures": (
        "selection:structures",
        "What a cohort can ask for: structures and codes, with counts.",
    ),
    "list": ("selection:list_names", "Names that a cohort file can use, with counts."),
    "query": ("selection:query", "Rows of your own SQL over the tables that cohorts are selected from."),
    "deploy": ("deploy:deploy", "Run a cohort on a schedule, whenever there is news."),
    "release": (
        "selection:release",
        "What changed between two IDC releases: segmentation series added, revised, retired.",
    ),
    "schema": ("selection:schema", "JSON Schema of cohort files, for editors."),
    "demo": ("demo:demo", "The whole pipeline on a phantom archive served from this machine."),
}

EXTRA_OF = {
    "prefect": "pipeline",
    "sqlglot": "pipeline",
    "jinja2": "pipeline",
    "httpx": "pipeline",
    "google": "bigquery",
    "highdicom": "encode",
    "scipy": "compare",
    "obstore": "s3",
    "distributed": "dask",
}
"""Extra by the top-level package that it brings, for the commands that need one."""

app = App(
    name="idcseg",
    help="Cohorts of DICOM SEG as label maps and one queryable segment catalog.",
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
    result_action="return_value",
    version=lambda: _version(),
)
for _name, (_target, _help) in COMMANDS.items():
    app.command(f"flows.commands.{_target}", name=_name, help=_help)


def _version() -> str:
    """Version, and whether the native core or NumPy decodes."""
    from segtools import __version__, native

    return f"{__version__} ({native.description()})"


def main() -> None:
    """Entry point of `idcseg`."""
    # Prefect reads these when it is imported: quiet, offline, patient with a slow machine.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    os.environ.setdefault(
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30"
    )  # s; docs/zombie-automation.yaml waits 90
    keep_loopback_direct()
    adapt_streams()
    try:
        code = app()
    except KeyboardInterrupt:
        print("interrupted; re-run the same command to continue", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # the reader of stdout left, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:  # noqa: BLE001 - the one place where a defect becomes a message
        code = _report(error)
    sys.exit(code if isinstance(code, int) else 0)


def _report(error: Exception) -> int:
    from flows.console import note
    from segtools.errors import SegtoolsError

    if os.environ.get("IDCSEG_DEBUG"):
        raise error
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if extra := EXTRA_OF.get(package):
        print(
            f"error [extra-missing] This command needs the package {package}, which is not installed. "
            f"Run: pip install 'idc-cohort-pipeline[{extra}]'",
            file=sys.stderr,
        )
        return 4
    if isinstance(error, SegtoolsError):
        note(f"error [{error.code}] {error}")
        return error.exit_code
    note(
        f"error [internal] {type(error).__name__}: {error}. This is a defect of idcseg; "
        "IDCSEG_DEBUG=1 shows where."
    )
    return 1


if __name__ == "__main__":
    main()
