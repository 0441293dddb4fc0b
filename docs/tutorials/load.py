# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Load and plot
#
# A dataset is a folder with three Parquet tables and NIfTI volumes. Here we make the demo's, load it, ask
# it questions, and draw a mask.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp())
command = [sys.executable, "-m", "flows.cli", "demo", "--direct", "-o", str(folder)]
finished = subprocess.run(command, capture_output=True, text=True, check=True)
print(finished.stdout)

# %% [markdown]
# ## Tables
#
# `segments` takes any SQL condition on the columns and gives an Arrow table.

# %%
import segtools

dataset = segtools.open(folder / "dataset")
livers = dataset.segments(
    "structure = 'liver' AND volume_ml > 0", columns=["patient_id", "volume_ml", "status"]
)
livers.to_pydict()

# %% [markdown]
# `sql` takes whole queries over the views `series`, `segments` and `findings`.

# %%
query = """
    SELECT structure, count(*) AS segments, round(median(volume_ml), 2) AS median_ml
    FROM segments WHERE voxel_count > 0 GROUP BY structure ORDER BY segments DESC, structure LIMIT 8
"""
dataset.sql(query).to_pydict()

# %% [markdown]
# What could not be decoded is there too, with a reason. A failure is never a number.

# %%
dataset.series("status = 'failed'", columns=["patient_id", "error_code", "error_message"]).to_pylist()

# %% [markdown]
# ## Arrays
#
# `volume` gives the label maps of a series; axes are (k, j, i), and `affine_ras_mm` maps (i, j, k) to RAS+.

# %%
import matplotlib.pyplot as plt
import numpy as np

row = dataset.segments("structure = 'liver' AND voxel_count > 0").to_pylist()[0]
volume = dataset.volume(row)
print(volume.array.shape, volume.array.dtype)
print(volume.affine_ras_mm)

# %%
middle = (row["bbox_min_k"] + row["bbox_max_k"]) // 2
names = dict(zip(volume.segments["segment_number"].to_pylist(), volume.segments["structure"].to_pylist()))
figure, axes = plt.subplots(figsize=(6, 5))
picture = axes.imshow(np.ma.masked_equal(volume.array[middle], 0), cmap="tab20", interpolation="nearest")
axes.set_title(f"{row['patient_id']}, slice {middle}")
shown = [n for n in np.unique(volume.array[middle]) if n]
handles = [
    plt.Line2D([], [], marker="s", ls="", color=picture.cmap(picture.norm(n)), label=names[n]) for n in shown
]
axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
figure.tight_layout()

# %% [markdown]
# ## Other tools
#
# The files are plain: nibabel, SimpleITK and 3D Slicer open the volumes, DuckDB, pandas and polars the tables.

# %%
import nibabel

image = nibabel.load(folder / "dataset" / row["volume_path"])
mask = np.asarray(image.dataobj) == row["segment_number"]
assert (mask.transpose(2, 1, 0) == dataset.mask(row)).all()
print(image.shape, nibabel.aff2axcodes(image.affine))
