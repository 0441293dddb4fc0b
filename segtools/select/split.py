"""A split by patient: training, validation and test parts that never share a person."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping


def part_of(collection_id: str, patient_id: str, shares: Mapping[str, float]) -> str:
    """The part that a patient belongs to, by a hash: whoever joins the cohort later moves nobody else.

    Parameters
    ----------
    collection_id, patient_id : str
        PatientID is unique only within a collection.
    shares : mapping of str to float
        Part → its share of the patients; they add up to 1.
    """
    digest = hashlib.md5(f"split/{collection_id}/{patient_id}".encode(), usedforsecurity=False).digest()
    place = int.from_bytes(digest[:8]) / 2**64  # [0, 1)
    end = 0.0
    for name, share in shares.items():
        end += share
        if place < end:
            return name
    return list(shares)[-1]  # the shares add up to a hair less than 1


def with_split(series: pa.Table, shares: Mapping[str, float]) -> pa.Table:
    """`series` with the column ``split``; null where the cohort asks for none."""
    if not shares:
        return series.append_column("split", pa.nulls(series.num_rows, pa.string()))
    pairs = zip(series["collection_id"].to_pylist(), series["patient_id"].to_pylist(), strict=True)
    parts = [part_of(collection, patient, shares) for collection, patient in pairs]
    return series.append_column("split", pa.array(parts, pa.string()))
