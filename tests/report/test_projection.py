import io
import itertools
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from segtools.errors import DatasetError
from segtools.report import projection
from segtools.report.projection import MAXIMUM_PNG_BYTES, SIDE, project
from tests.factories.cores import both_cores

core = both_cores()

RED, GREEN, BLUE = (220, 60, 60), (60, 220, 60), (60, 60, 220)
COLORS = {1: RED, 2: GREEN, 3: BLUE}


def picture(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def drawn(png, color):
    """Mean place and extent (row, column) of the pixels that have this hue, in pixels."""
    main = int(np.argmax(color))
    rgb = picture(png)
    others = np.delete(rgb, main, axis=2).max(axis=2)
    rows, columns = np.nonzero(rgb[..., main] - others > 40)
    assert len(rows), "nothing of that colour is there"
    return (rows.mean(), columns.mean()), (np.ptp(rows) + 1, np.ptp(columns) + 1)


def body():
    """(R, A, S) label map of distinct corners, 30 x 24 x 18 voxels of 2 x 2 x 4 mm, RAS+."""
    volume = np.zeros((30, 24, 18), np.uint8)
    volume[22:28, 8:14, 7:11] = 1  # towards the right
    volume[12:18, 18:23, 7:11] = 2  # towards anterior
    volume[12:18, 8:14, 14:17] = 3  # towards superior
    return nib.Nifti1Image(volume, np.diag([2.0, 2.0, 4.0, 1.0]))


@pytest.fixture(scope="module")
def upright():
    return shown(body())


def shown(image):
    layer = np.ascontiguousarray(np.asarray(image.dataobj).transpose(2, 1, 0))
    return project([layer], image.affine, COLORS)


def test_right_is_left_and_anterior_and_superior_are_up():
    pictures = shown(body())
    center = SIDE / 2
    assert drawn(pictures["axial"], RED)[0][1] < center - 20
    assert drawn(pictures["coronal"], RED)[0][1] < center - 20
    assert drawn(pictures["axial"], GREEN)[0][0] < center - 20
    assert drawn(pictures["coronal"], BLUE)[0][0] < center - 10


@pytest.mark.parametrize("codes", list(itertools.permutations("RAS")))
@pytest.mark.parametrize("flips", list(itertools.product((False, True), repeat=3)))
def test_every_storage_order_gives_the_same_picture(codes, flips, upright):
    opposite = dict(zip("RAS", "LPI", strict=True))
    codes = [opposite[code] if flip else code for code, flip in zip(codes, flips, strict=True)]
    target = nib.orientations.axcodes2ornt(codes)
    source = nib.orientations.io_orientation(body().affine)
    turned = body().as_reoriented(nib.orientations.ornt_transform(source, target))
    assert nib.aff2axcodes(turned.affine) == tuple(codes)
    assert shown(turned) == upright


def test_an_oblique_grid_keeps_its_sides():
    angle = np.deg2rad(25)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    straight = body()
    assert shown(nib.Nifti1Image(straight.dataobj, turn @ straight.affine)) == shown(straight)


def test_a_ball_is_round_on_an_anisotropic_grid():
    spacing = np.array([0.8, 0.8, 5.0])
    shape = (150, 140, 24)
    at = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) * spacing
    ball = (((at - [60, 55, 60]) ** 2).sum(-1) <= 40**2).astype(np.uint8)
    pictures = shown(nib.Nifti1Image(ball, np.diag([*spacing, 1])))
    for png in pictures.values():
        _, (height, width) = drawn(png, RED)
        assert height == pytest.approx(width, rel=0.1)


def test_both_views_have_one_scale():
    pictures = shown(body())
    widths = [drawn(png, RED)[1][1] for png in pictures.values()]
    assert widths[0] == pytest.approx(widths[1], abs=2)


def test_a_single_voxel_is_seen():
    layer = np.zeros((60, 512, 512), np.uint8)
    layer[2:58, 40:480, 30:490] = 1
    layer[30, 256, 256] = 2
    pictures = project([layer], np.diag([-0.7, -0.7, 2.5, 1]), COLORS)
    before = project([np.where(layer == 2, 1, layer).astype(np.uint8)], np.diag([-0.7, -0.7, 2.5, 1]), COLORS)
    for view in pictures:
        assert pictures[view] != before[view]


def test_a_lesion_inside_its_organ_is_seen():
    layer = np.zeros((40, 40, 40), np.uint8)
    layer[5:35, 5:35, 5:35] = 1
    layer[18:22, 18:22, 18:22] = 2
    for png in project([layer], np.eye(4), COLORS).values():
        (row, column), _ = drawn(png, GREEN)
        assert (row, column) == pytest.approx((SIDE / 2, SIDE / 2), abs=8)


def test_layers_are_drawn_together():
    first, second = np.zeros((2, 20, 20, 20), np.uint16)
    first[2:18, 2:18, 2:18] = 1
    second[8:12, 8:12, 8:12] = 300
    pictures = project([first, second], np.eye(4), {1: RED, 300: GREEN})
    for png in pictures.values():
        drawn(png, RED)
        drawn(png, GREEN)


def test_nothing_to_draw():
    assert project([np.zeros((4, 5, 6), np.uint8)], np.eye(4), COLORS) == {}


def test_segments_without_a_color_are_left_out():
    layer = np.zeros((20, 20, 20), np.uint8)
    layer[2:9] = 9
    layer[12:18, 5:15, 5:15] = 1
    rgb = picture(project([layer], np.eye(4), {1: RED})["coronal"])
    assert set(map(tuple, rgb[150:210, 60:70].reshape(-1, 3).tolist())) == {(11, 14, 20)}


@pytest.mark.parametrize(
    ("layers", "affine"),
    [
        ([np.ones((4, 5, 6), np.uint8), np.ones((4, 5, 7), np.uint8)], np.eye(4)),
        ([np.ones((2, 4, 5, 6), np.uint8)], np.eye(4)),
        ([np.ones((4, 5, 6), np.float32)], np.eye(4)),
        ([np.ones((4, 5, 6), np.int16)], np.eye(4)),
        ([np.ones((4, 5, 6), np.uint8)], np.diag([1.0, 0, 1, 1])),
        ([np.ones((4, 5, 6), np.uint8)], np.diag([1.0, np.nan, 1, 1])),
        ([np.ones((4, 5, 6), np.uint8)], np.diag([1.0, 1e-300, 1e300, 1])),
        ([], np.eye(4)),
    ],
)
def test_what_is_no_label_map_is_refused(layers, affine):
    with pytest.raises(DatasetError) as caught:
        project(layers, affine, COLORS)
    assert caught.value.code == "dataset-invalid"


def test_extreme_spacings_are_drawn():
    assert project([np.ones((4, 5, 6), np.uint8)], np.diag([1e-5, 1, 1e5, 1]), COLORS)


def test_even_noise_stays_small():
    rng = np.random.default_rng(5)
    layer = rng.integers(0, 128, (40, 256, 256), dtype=np.uint8)
    colors = {n: tuple(rng.integers(0, 256, 3).tolist()) for n in range(1, 128)}
    for png in project([layer], np.diag([1.0, 1, 3, 1]), colors).values():
        assert len(png) <= MAXIMUM_PNG_BYTES
        assert Image.open(io.BytesIO(png)).size == (SIDE, SIDE)


def test_memory_is_of_a_slab_not_of_the_voxels_set():
    layer = np.ones((400, 256, 256), np.uint8)
    tracemalloc.start()
    try:
        project([layer], np.eye(4), COLORS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * layer.nbytes, "one index of each voxel takes 8 bytes, and there are three"


def test_slabs_do_not_show(monkeypatch, upright):
    monkeypatch.setattr(projection, "_SLAB_VOXELS", 2000)
    assert shown(body()) == upright


def test_letters_stand_where_they_belong(upright):
    for view, letters in (("coronal", "RLSI"), ("axial", "RLAP")):
        rgb = picture(upright[view])
        spots = ((10, 128), (246, 128), (128, 10), (128, 246))
        for letter, (x, y) in zip(letters, spots, strict=True):
            alone = Image.new("L", (20, 20))
            ImageDraw.Draw(alone).text((10, 10), letter, 255, ImageFont.load_default(15), anchor="mm")
            patch = rgb[y - 10 : y + 10, x - 10 : x + 10].mean(axis=2)
            likeness = np.corrcoef(patch.ravel(), np.asarray(alone).ravel())[0, 1]
            assert likeness > 0.98, (view, letter)
