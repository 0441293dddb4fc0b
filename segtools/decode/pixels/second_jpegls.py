"""JPEG-LS (ISO/IEC 14495-1) in plain Python: the second reading of such frames.

Where the neighbourhood is flat, the length of a run is coded (A.7); elsewhere the difference from a
prediction, as a Golomb code: zeros, a one, then k bits. With k = 2, ``00 1 10`` is 2 * 4 + 2 = 10.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from segtools.decode.pixels.second_frames import Values, refuse_size, refused
from segtools.decode.pixels.second_jpeg import scan_of, strips

_RUN_BITS = (*(0,) * 4, *(1,) * 4, *(2,) * 4, *(3,) * 4, 4, 4, 5, 5, 6, 6, 7, 7, *range(8, 16))
"""J of A.2.1: a run of ``2 ** J[index]`` voxels is one bit."""
_FLAT, _SAME = 365, 366
"""Contexts of run interruption (A.7.2): unlike and like the voxel above."""


def jpegls(data: bytes, rows: int, columns: int, bits: int) -> Values:
    """Decode one frame of JPEG-LS, without loss or near."""
    scan = scan_of(data, 0xF7)
    refuse_size((scan.rows, scan.columns, scan.components), (rows, columns), len(data))
    near = scan.parameters[0]
    if not 2 <= scan.precision <= max(bits, 8):
        raise refused(f"its voxels have {scan.precision} bits")
    coding = _Coding(scan.precision, near, scan.presets)
    out = np.zeros((rows, columns), np.uint16)
    step = scan.restart or rows
    pieces = strips(data, scan.start)
    for number, top in enumerate(range(0, rows, step)):
        if number >= len(pieces):
            raise refused("its restart intervals are fewer than its lines ask for")
        _Strip(_bits(pieces[number]), coding).decode(out[top : min(top + step, rows)])
    return out.ravel()


def _bits(data: bytes) -> str:
    """Bits as text; the first bit behind a byte ff is stuffing (A.1)."""
    octets = np.frombuffer(data, np.uint8)
    kept = np.ones((len(octets), 8), bool)
    kept[1:, 0] = octets[:-1] != 0xFF
    digits = np.unpackbits(octets)[kept.ravel()] + np.uint8(ord("0"))
    return digits.tobytes().decode("ascii")


class _Coding:
    """Parameters of a scan (A.2.1, C.2.4.1.1)."""

    def __init__(self, precision: int, near: int, presets: bytes) -> None:
        given = [int.from_bytes(presets[n : n + 2], "big") for n in range(0, 10, 2)]
        self.near, self.highest = near, given[0] or (1 << precision) - 1
        if not 0 < self.highest < 1 << precision or near > min(255, self.highest // 2):
            raise refused(f"its largest value is {self.highest}, its tolerance {near}")
        self.step = 2 * near + 1
        self.range = (self.highest + 2 * near) // self.step + 1
        self.wide = (self.range - 1).bit_length()
        deep = max(2, self.highest.bit_length())
        self.limit = 2 * (deep + max(8, deep))
        defaults = _thresholds(self.highest, near)
        self.thresholds = [given[n + 1] or defaults[n] for n in range(3)]
        self.reset = given[4] or 64
        if self.reset < 3:
            raise refused(f"its contexts are halved at {self.reset}")


def _thresholds(highest: int, near: int) -> list[int]:
    """Make the default thresholds (C.2.4.1.1.1)."""
    if highest >= 128:
        factor = (min(highest, 4095) + 128) // 256
        wanted = [factor + 2 + 3 * near, factor * 4 + 3 + 5 * near, factor * 17 + 4 + 7 * near]
    else:
        factor = 256 // (highest + 1)
        wanted = [
            max(2, 3 // factor + 3 * near),
            max(3, 7 // factor + 5 * near),
            max(4, 21 // factor + 7 * near),
        ]
    made = [near + 1]
    for value in wanted:
        made.append(value if made[-1] <= value <= highest else made[-1])
    return made[1:]


@lru_cache(maxsize=8)
def _levels(highest: int, near: int, first: int, second: int, third: int) -> dict[int, int]:
    """Number of the interval that each difference of neighbours is in, -4 to 4 (A.3.3)."""
    levels = {}
    for size in range(highest + 1):
        level = 0 if size <= near else 1 + (size >= first) + (size >= second) + (size >= third)
        levels[size], levels[-size] = level, -level
    return levels


class _Strip:
    """Lines that are decoded from a fresh start."""

    def __init__(self, text: str, coding: _Coding) -> None:
        self._text, self._at, self._coding = text, 0, coding
        self._sums = [max(2, (coding.range + 32) >> 6)] * 367  # A
        self._bias = [0] * 367  # B, and Nn of the two contexts of run interruption
        self._shift = [0] * 365  # C
        self._seen = [1] * 367  # N
        self._run = 0
        self._levels = _levels(coding.highest, coding.near, *coding.thresholds)

    def decode(self, lines: Values) -> None:
        width = lines.shape[1]
        above = [0] * (width + 2)  # a voxel before the first and one behind the last
        for line in lines:
            row = [above[1], *above[1:]]
            self._decode_line(above, row, width)
            row[-1] = row[-2]
            line[:] = row[1:-1]
            above = row

    def _decode_line(self, above: list[int], row: list[int], width: int) -> None:
        levels, x = self._levels, 1
        while x <= width:
            left, over, corner = row[x - 1], above[x], above[x - 1]
            index = 81 * levels[above[x + 1] - over] + 9 * levels[over - corner] + levels[corner - left]
            if index:
                row[x] = self._regular(index, left, over, corner)
                x += 1
            else:
                x = self._run_from(x, above, row, width)

    def _take(self, count: int) -> int:
        if self._at + count > len(self._text):
            raise refused("its bits end before its voxels do")
        self._at += count
        return int(self._text[self._at - count : self._at], 2) if count else 0

    def _golomb(self, k: int, limit: int) -> int:
        one = self._text.find("1", self._at)
        zeros, most = one - self._at, limit - self._coding.wide - 1
        if one < 0 or zeros > most:
            raise refused("a code has more zeros than its limit")
        self._at = one + 1
        return (zeros << k) + self._take(k) if zeros < most else self._take(self._coding.wide) + 1

    def _regular(self, index: int, left: int, over: int, corner: int) -> int:
        coding, sign = self._coding, 1
        if index < 0:
            index, sign = -index, -1
        if corner >= max(left, over):
            predicted = min(left, over)
        elif corner <= min(left, over):
            predicted = max(left, over)
        else:
            predicted = left + over - corner
        predicted = min(max(predicted + sign * self._shift[index], 0), coding.highest)
        k = self._order(self._sums[index], self._seen[index])
        code = self._golomb(k, coding.limit)
        error = code >> 1 if code % 2 == 0 else -(code + 1 >> 1)
        if k == 0 and coding.near == 0 and 2 * self._bias[index] <= -self._seen[index]:
            error = -error - 1
        self._learn(index, error)
        return self._rebuilt(predicted, sign * error)

    def _order(self, total: int, seen: int) -> int:
        k = 0
        while seen << k < total:
            k += 1
        if k > 16:
            raise refused("its errors outgrow its voxels")
        return k

    def _learn(self, index: int, error: int) -> None:
        """Update a context and its bias (A.6)."""
        sums, bias, seen = (
            self._sums[index] + abs(error),
            self._bias[index] + error * self._coding.step,
            self._seen[index],
        )
        if seen == self._coding.reset:
            sums, bias, seen = sums >> 1, bias >> 1, seen >> 1
        seen += 1
        if bias <= -seen:
            bias = max(bias + seen, 1 - seen)
            self._shift[index] = max(self._shift[index] - 1, -128)
        elif bias > 0:
            bias = min(bias - seen, 0)
            self._shift[index] = min(self._shift[index] + 1, 127)
        self._sums[index], self._bias[index], self._seen[index] = sums, bias, seen

    def _rebuilt(self, predicted: int, error: int) -> int:
        coding = self._coding
        value = predicted + error * coding.step
        if value < -coding.near:
            value += coding.range * coding.step
        elif value > coding.highest + coding.near:
            value -= coding.range * coding.step
        return min(max(value, 0), coding.highest)

    def _run_from(self, x: int, above: list[int], row: list[int], width: int) -> int:
        """Decode a run that begins at `x`, and the voxel that ends it; give where to go on (A.7)."""
        left, end = row[x - 1], x
        while end <= width:
            bits = _RUN_BITS[self._run]
            if not self._take(1):
                end += self._take(bits)
                if end > width:
                    raise refused("a run ends behind its line")
                row[end] = self._interruption(left, above[end])
                self._run = max(self._run - 1, 0)
                break
            if end + (1 << bits) <= width + 1:
                self._run = min(self._run + 1, 31)
            end = min(end + (1 << bits), width + 1)
        row[x:end] = [left] * (end - x)
        return end + 1

    def _interruption(self, left: int, over: int) -> int:
        """Decode the voxel that ends a run (A.7.2)."""
        coding = self._coding
        like = abs(left - over) <= coding.near
        index = _SAME if like else _FLAT
        seen, negatives = self._seen[index], self._bias[index]
        k = self._order(self._sums[index] + (seen >> 1 if like else 0), seen)
        code = self._golomb(k, coding.limit - _RUN_BITS[self._run] - 1)
        odd = (code + like) % 2 == 1
        error = (code + like + odd) >> 1
        if (k != 0 or 2 * negatives >= seen) == odd:
            error = -error
        negatives += error < 0
        sums = self._sums[index] + ((code + 1 - like) >> 1)
        if seen == coding.reset:
            sums, negatives, seen = sums >> 1, negatives >> 1, seen >> 1
        self._sums[index], self._bias[index], self._seen[index] = sums, negatives, seen + 1
        if like:
            return self._rebuilt(left, error)
        return self._rebuilt(over, error if over > left else -error)
