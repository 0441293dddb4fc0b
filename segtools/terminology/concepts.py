"""A coded concept, and what has some."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Concept(NamedTuple):
    """A coded concept (PS3.3 8.8): value, scheme, meaning, as written in the file."""

    value: str
    scheme: str
    meaning: str


class CodedSegment(Protocol):
    """What names, sides and colours are made from; `segtools.decode.volume.Segment` is one."""

    @property
    def category(self) -> Concept | None:
        """Segmented property category."""

    @property
    def type(self) -> Concept | None:
        """Segmented property type."""

    @property
    def type_modifiers(self) -> tuple[Concept, ...]:
        """Modifiers of the type."""

    @property
    def regions(self) -> tuple[Concept, ...]:
        """Anatomic regions."""

    @property
    def region_modifiers(self) -> tuple[Concept, ...]:
        """Modifiers of the regions."""

    @property
    def cielab(self) -> tuple[int, int, int] | None:
        """RecommendedDisplayCIELabValue, 16-bit encoded."""

    @property
    def rgb(self) -> tuple[int, int, int] | None:
        """Colour of a palette, 0-255."""
