# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Masks to DICOM SEG
#
# A mask becomes a DICOM SEG with coded meaning, and is read back voxel by voxel.

# %%
import tempfile
from pathlib import Path

import numpy as np

from segtools.decode import Concept, Grid, Segment, read
from segtools.encode import Subject, encode, image_series

# %% [markdown]
# The images that were segmented: here a CT that we make up. With your own images, read them with pydicom.

# %%
affine = np.diag([1.0, 1.0, 3.0, 1.0])
grid = Grid((12, 64, 64), affine)
images = image_series(grid, Subject("demo"), pixels=np.zeros(grid.shape, np.int16))

# %% [markdown]
# The mask: a ball, and what it means in SNOMED CT.

# %%
k, j, i = np.indices(grid.shape)
ball = ((k - 6) * 3) ** 2 + (j - 30) ** 2 + (i - 34) ** 2 < 15**2
liver = Segment(
    1,
    "Liver",
    category=Concept("123037004", "SCT", "Anatomical Structure"),
    type=Concept("10200004", "SCT", "Liver"),
    algorithm_type="MANUAL",
)

# %%
data = encode({1: ball}, grid, [liver], source=images, omit_empty_frames=False)
path = Path(tempfile.mkdtemp()) / "liver.seg.dcm"
data.save_as(path)
print(path.stat().st_size, "bytes")

# %% [markdown]
# Read back: the same voxels, the same codes, the same place.

# %%
volume = read(path)
assert (volume.mask(1) == ball).all()
print(volume.segments[0].type, volume.grid.spacing_mm)
