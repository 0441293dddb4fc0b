"""The functions of the native core; segtools/native/module.c checks whatever they are given."""

from typing import Any

Buffer = Any
"""Of the buffer protocol, C-contiguous; `collections.abc.Buffer` from Python 3.12 on."""

INTERFACE: int

def paint(
    layers: list[Buffer],
    first: int,
    descriptor: int,
    file_offset: int,
    bits: Buffer,
    starts: Buffer,
    slices: Buffer,
    pixels: int,
    slice_count: int,
    label: int,
    width: int,
    room: Buffer,
    /,
) -> int: ...
def measure(
    array: Buffer, width: int, rows: int, columns: int, slices: Buffer, measures: Buffer, /
) -> None: ...
def shared(planes: list[Buffer], counts: list[Buffer], voxels: int, /) -> None: ...
def project(
    array: Buffer,
    width: int,
    index_of: Buffer,
    pixels: int,
    of_slice: Buffer,
    of_row: Buffer,
    of_column: Buffer,
    counts: Buffer,
    /,
) -> None: ...
