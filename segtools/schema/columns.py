"""What a column and a table are, and short ways to declare them.

The tables themselves: `segtools.schema.tables` (ours), `segtools.schema.idc` (IDC's).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    name : str
    kind : str
        Arrow type by name, one of `KINDS`; `type` is the type itself. Arrow is imported when first
        asked for: whoever only needs the names does without.
    description : str
        One sentence, for people.
    unit : str
        Empty where there is none.
    nullable : bool
    values : tuple of str
        The allowed values of an enumerated column.
    minimum : float or None
        Smallest allowed value.
    """

    name: str
    kind: str
    description: str
    unit: str = ""
    nullable: bool = False
    values: tuple[str, ...] = ()
    minimum: float | None = None

    @cached_property
    def type(self) -> pa.DataType:
        """The Arrow type."""
        return _arrow_type(self.kind)

    @property
    def field(self) -> pa.Field:
        """The Arrow field, unit and description in its metadata."""
        import pyarrow as pa

        metadata = {"description": self.description} | ({"unit": self.unit} if self.unit else {})
        return pa.field(self.name, self.type, self.nullable, metadata)


@dataclass(frozen=True)
class Table:
    """One table: its columns, its key and its row order."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    @cached_property
    def arrow(self) -> pa.Schema:
        """The Arrow schema."""
        import pyarrow as pa

        return pa.schema([column.field for column in self.columns], {"table": self.name})

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(column.name for column in self.columns)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def from_rows(self, rows: list[dict[str, Any]]) -> pa.Table:
        """An Arrow table of `rows`; every key must be a column, absent ones are null."""
        for row in rows:
            if unknown := row.keys() - set(self.names):
                raise AssertionError(f"{self.name} has no column {sorted(unknown)}")
        import pyarrow as pa

        return pa.Table.from_pylist(rows, schema=self.arrow)

    def empty(self) -> pa.Table:
        """The table without rows."""
        return self.arrow.empty_table()


KINDS = (
    *("string", "bool", "int8", "int16", "int32", "int64", "float32", "float64"),
    *("affine", "code", "property_type", "strings", "reals"),
)
"""Names of Arrow types: the plain ones, and five of our own."""


@cache
def _arrow_type(kind: str) -> pa.DataType:
    import pyarrow as pa

    code = pa.struct([(name, pa.string()) for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")])
    modifiers = ("AnatomicRegionModifierSequence", "SegmentedPropertyTypeModifierCodeSequence")
    if kind == "affine":
        return pa.list_(pa.field("item", pa.float64()), 16)
    if kind == "code":
        return code
    if kind in ("strings", "reals"):
        return pa.list_(pa.string() if kind == "strings" else pa.float64())
    if kind == "property_type":
        return pa.struct([*code, *((name, pa.list_(code)) for name in modifiers)])
    plain: pa.DataType = pa.bool_() if kind == "bool" else getattr(pa, kind)()
    return plain


def text(name: str, description: str, *, nullable: bool = False, values: tuple[str, ...] = ()) -> Column:
    """A column of text, of the allowed values if there are any."""
    return Column(name, "string", description, nullable=nullable, values=values)


def integer(
    name: str,
    description: str,
    *,
    bits: int = 32,
    unit: str = "",
    nullable: bool = False,
    minimum: float | None = None,
) -> Column:
    """A column of whole numbers."""
    return Column(name, f"int{bits}", description, unit, nullable, (), minimum)


def real(
    name: str, description: str, unit: str = "", *, nullable: bool = False, minimum: float | None = None
) -> Column:
    """A column of numbers."""
    return Column(name, "float64", description, unit, nullable, (), minimum)


def flag(name: str, description: str, *, nullable: bool = False) -> Column:
    """A column of yes or no."""
    return Column(name, "bool", description, nullable=nullable)


def concept(prefix: str, what: str) -> tuple[Column, ...]:
    """Three columns of a coded concept: code, scheme, meaning."""
    return (
        text(f"{prefix}_code", f"{what}: Code Value (0008,0100) as written.", nullable=True),
        text(f"{prefix}_scheme", f"{what}: Coding Scheme Designator (0008,0102) as written.", nullable=True),
        text(f"{prefix}_meaning", f"{what}: Code Meaning (0008,0104) as written.", nullable=True),
    )
