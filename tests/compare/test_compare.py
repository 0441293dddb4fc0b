"""Agreement of segmentations, against brute force and by hand."""

from __future__ import annotations

import itertools
import pickle

import nibabel as nib
import numpy as np
import pytest

import segtools
from segtools.compare import agreement, compare, pairs
from segtools.compare.lattice import Cropped, common
from segtools.compare.run import Comparer
from segtools.dataset.layout import Layout
from segtools.errors import CompareError
from segtools.run.executors.base import ExecutorOptions
from tests.factories.dataset import commit, make_series, write_part

RNG = np.random.default_rng(11)
AFFINE = np.array([[0.7, 0, 0, -5], [0, 0.8, 0, 3], [0, 0, 2.5, 40], [0, 0, 0, 1.0]])


def blob(shape=(8, 9, 10), seed=0):
    mask = np.random.default_rng(seed).random(shape) < 0.4
    mask[[0, -1]] = mask[:, [0, -1]] = mask[:, :, [0, -1]] = False
    return mask


def brute_force(first, second, affine):
    """All measures by loops over voxels."""
    a, b = ({tuple(v) for v in np.argwhere(mask).tolist()} for mask in (first, second))

    def surface(voxels):
        steps = [s for s in itertools.product((-1, 0, 1), repeat=3) if sum(map(abs, s)) == 1]
        return [v for v in voxels if any(tuple(np.add(v, s)) not in voxels for s in steps)]

    def millimetres(voxels):
        return [affine[:3] @ (i, j, k, 1) for k, j, i in voxels]

    sa, sb = millimetres(surface(a)), millimetres(surface(b))
    there = [min(np.linalg.norm(p - q) for q in sb) for p in sa]
    back = [min(np.linalg.norm(p - q) for p in sa) for q in sb]
    return {
        "dice": 2 * len(a & b) / (len(a) + len(b)),
        "jaccard": len(a & b) / len(a | b),
        "volume_difference_ml": (len(b) - len(a)) * abs(np.linalg.det(affine[:3, :3])) / 1000,
        "centroid_distance_mm": np.linalg.norm(np.mean(millimetres(b), 0) - np.mean(millimetres(a), 0)),
        "hausdorff95_mm": max(np.percentile(there, 95), np.percentile(back, 95)),
        "mean_surface_distance_mm": np.mean(there + back),
    }


@pytest.mark.parametrize("seed", range(4))
def test_measures_are_those_of_brute_force(seed):
    first, second = blob(seed=seed), blob(seed=seed + 100)
    found = agreement(first, second, AFFINE)
    for name, value in brute_force(first, second, AFFINE).items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-9), name


def test_identical_masks_agree_fully_and_distant_ones_not_at_all():
    mask = blob()
    same = agreement(mask, mask, AFFINE)
    assert (same.dice, same.jaccard, same.hausdorff95_mm, same.mean_surface_distance_mm) == (1, 1, 0, 0)
    one, other = np.zeros((2, 3, 3, 9), bool)
    one[1, 1, 1] = other[1, 1, 7] = True
    far = agreement(one, other, AFFINE)
    assert far.dice == 0
    assert far.hausdorff95_mm == pytest.approx(6 * 0.7)


ORIENTATIONS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_a_turned_copy_is_brought_onto_the_first_ones_lattice(order, signs):
    """The same voxels, stored with axes permuted and flipped, compare as equal."""
    mask = RNG.random((4, 5, 6)) < 0.5
    start = (3, 7, 2)
    by_ijk = mask.transpose(2, 1, 0)
    turned = by_ijk.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    # Index (i, j, k) of the copy to the index of the original.
    steps, offset = np.zeros((3, 3)), np.zeros(3)
    for axis, (source, sign) in enumerate(zip(order, signs, strict=True)):
        steps[source, axis] = sign
        offset[source] = start[source] + (0 if sign > 0 else by_ijk.shape[source] - 1)
    affine = AFFINE.copy()
    affine[:3, :3] = AFFINE[:3, :3] @ steps
    affine[:3, 3] = (AFFINE @ np.append(offset, 1))[:3]
    first, second, box = common(
        Cropped(mask, start, AFFINE), Cropped(turned.transpose(2, 1, 0), (0, 0, 0), affine)
    )
    np.testing.assert_array_equal(first, second)
    assert first.sum() == mask.sum()
    k, j, i = np.argwhere(first)[0]
    kk, jj, ii = np.argwhere(mask)[0]
    np.testing.assert_allclose(box @ (i, j, k, 1), AFFINE @ (ii + 3, jj + 7, kk + 2, 1))


@pytest.mark.parametrize(
    "change",
    [
        np.diag([1, 1, 2, 1.0]),
        np.array([[1, 0, 0, 0.3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
        np.array([[0.995, -0.1, 0, 0], [0.1, 0.995, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    ],
)
def test_another_lattice_is_refused(change):
    mask = blob()
    with pytest.raises(CompareError) as refused:
        common(Cropped(mask, (0, 0, 0), AFFINE), Cropped(mask, (0, 0, 0), AFFINE @ change))
    assert refused.value.code == "lattice-differs"
    assert pickle.loads(pickle.dumps(refused.value)).code == "lattice-differs"


@pytest.fixture
def dataset(tmp_path):
    """Three readers of one image series, the third with another liver; one series of other images."""
    layout = Layout(tmp_path / "readers")
    several = [make_series(n, source_series_uid="9.9", patient_id="P") for n in (1, 2, 3)]
    several.append(make_series(4))
    write_part(layout, several)
    commit(layout, several)
    with segtools.open(layout.root) as opened:
        row = opened.segments("seg_series_uid = '1.2.826.3.2' AND structure = 'liver'").to_pylist()[0]
        path = layout.root / row["volume_path"]
        image = nib.load(path)
        array = np.asarray(image.dataobj).copy()
        box = [row[f"bbox_min_{axis}"] for axis in "ijk"]
        array[tuple(box)] = 1
        array[row["bbox_max_i"], row["bbox_max_j"], row["bbox_max_k"]] = 0
        nib.save(nib.Nifti1Image(array, image.affine), path)
        yield opened


def test_pairs_are_of_one_structure_side_and_image_series_each_once(dataset):
    found = [(a["seg_series_uid"][8], b["seg_series_uid"][8], a["structure"]) for a, b in pairs(dataset)]
    expected = [
        (a, b, name) for name in ("kidney_left", "liver") for a, b in itertools.combinations("123", 2)
    ]
    assert sorted(found) == sorted(expected)  # the right kidney is empty, series 4 is of other images


@pytest.mark.parametrize("options", [None, ExecutorOptions("processes", 2)])
def test_the_table_has_what_the_masks_say(dataset, options):
    table = compare(dataset, options=options).to_pylist()
    assert len(table) == 6
    for row in table:
        first, second = (dataset.mask(row[f"segment_id_{which}"]) for which in ("first", "second"))
        assert row["status"] == "ok"
        assert row["dice"] == pytest.approx(2 * (first & second).sum() / (first.sum() + second.sum()))
        assert (row["dice"] == 1) == bool((first == second).all())


def test_a_pair_that_cannot_be_compared_has_a_code_and_no_number(dataset, tmp_path):
    row = dataset.segments("seg_series_uid = '1.2.826.2.2'").to_pylist()[0]
    (dataset.root / row["volume_path"]).unlink()
    table = compare(dataset, where="structure = 'liver'").to_pylist()
    failed = [row for row in table if row["status"] == "failed"]
    assert len(failed) == 2
    assert all(row["error_code"] == "volume-missing" and row["dice"] is None for row in failed)


def test_other_frames_of_reference_are_not_compared(dataset):
    first, second = next(pairs(dataset))
    (row,) = Comparer(dataset.root)(
        type("Batch", (), {"pairs": [(first, second | {"frame_of_reference_uid": "other"})]})()
    )
    assert row["error_code"] == "lattice-differs"


def test_several_equal_segments_in_one_instance_are_not_paired(tmp_path, dataset):
    rows = dataset.segments().to_pylist()
    assert all(len({a["seg_sop_uid"], b["seg_sop_uid"]}) == 2 for a, b in pairs(dataset))
    assert len(rows) == 12
