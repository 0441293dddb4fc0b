# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # A cohort of your own
#
# A cohort is a YAML file; its name is the dataset's. Here it runs on a small archive that we make first;
# without `--index`, the same file runs on IDC.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

from segtools.phantom.archive import write_archive

folder = Path(tempfile.mkdtemp())
archive = write_archive(folder / "archive")
print(len(archive), "series of", len({item.patient_id for item in archive}), "patients")


def idcseg(*arguments):
    """Run the command and print what it says; exit code 3 means that some series failed."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *map(str, arguments)], capture_output=True, text=True, cwd=folder
    )
    print(done.stdout or done.stderr)
    assert done.returncode in (0, 3), done.stderr


# %% [markdown]
# ## Index
#
# IDC has tables of its own. Your files get the same tables from `idcseg index`.

# %%
idcseg("index", folder / "archive", "-o", folder / "index")

# %% [markdown]
# ## What can I ask for?

# %%
idcseg("structures", "--index", folder / "index")

# %% [markdown]
# ## Plan
#
# A plan says how many series and bytes a cohort is, before anything moves.

# %%
(folder / "abdomen.yaml").write_text("""\
structures: [liver, kidney_left, kidney_right]
output: {grid: seg}
""")
idcseg("plan", "abdomen.yaml", "--index", folder / "index")

# %% [markdown]
# ## Run
#
# `--direct` needs no Prefect server. Run it again: only what is new or changed is done.

# %%
idcseg("run", "abdomen.yaml", "-o", "abdomen", "--index", folder / "index", "--direct")

# %%
idcseg("run", "abdomen.yaml", "-o", "abdomen", "--index", folder / "index", "--direct")

# %% [markdown]
# ## Misspell a structure
#
# Names that match nothing are refused, with the nearest ones that exist.

# %%
(folder / "typo.yaml").write_text("structures: [livr]\n")
done = subprocess.run(
    [sys.executable, "-m", "flows.cli", "plan", "typo.yaml", "--index", str(folder / "index")],
    capture_output=True,
    text=True,
    cwd=folder,
)
print(done.stderr)
assert done.returncode == 2
