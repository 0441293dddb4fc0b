"""A dataset with an instance of every kind of storage."""

from __future__ import annotations

from segtools.dataset import transaction
from segtools.dataset.layout import Layout
from segtools.write.instance import WriteOptions
from tests.factories.dataset import commit, make_series, make_volume, write_part

PLAIN, LAYERED, FRACTIONAL, MASKS, NONE = (make_series(number) for number in range(1, 6))
ALL = [PLAIN, LAYERED, FRACTIONAL, MASKS, NONE]
VOLUMES = {
    PLAIN.seg_series_uid: make_volume(PLAIN),
    LAYERED.seg_series_uid: make_volume(LAYERED, layers=2),
    FRACTIONAL.seg_series_uid: make_volume(FRACTIONAL, fractional=True),
    MASKS.seg_series_uid: make_volume(MASKS),
}


def build(root):
    layout = Layout(root)
    transaction.prepare(layout)
    write_part(layout, [PLAIN], "a")
    write_part(layout, [LAYERED], "b", layers=2)
    write_part(layout, [FRACTIONAL], "c", fractional=True)
    write_part(layout, [MASKS], "d", options=WriteOptions("masks"))
    write_part(layout, [NONE], "e", options=WriteOptions("none"))
    commit(layout, ALL)
    return layout
