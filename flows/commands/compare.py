"""`idcseg compare`: how segmentations of the same images agree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.commands.dataset import opened_dataset
from flows.console import note, print_table

if TYPE_CHECKING:
    import pyarrow as pa

_SUMMARY = """
SELECT structure, algorithms, count(*) AS pairs, count(*) FILTER (status = 'failed') AS failed,
       median(dice) AS median_dice, quantile_cont(dice, 0.1) AS dice_10_percent,
       median(hausdorff95_mm) AS median_hausdorff95_mm,
       median(volume_difference_ml) AS median_volume_difference_ml
FROM (SELECT *, concat(coalesce(analysis_result_id_first, algorithm_name_first, '?'), ' / ',
                       coalesce(analysis_result_id_second, algorithm_name_second, '?')) AS algorithms
      FROM agreement)
GROUP BY structure, algorithms ORDER BY structure, algorithms
"""


def compare(
    dataset: str,
    /,
    *,
    where: str | None = None,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    workers: int = 1,
    json: bool = False,
) -> int:
    """Compare segments of one structure and side that were drawn on the same image series.

    Dice, Jaccard, volume difference, distance of centroids and of surfaces, for every pair of segments
    from two segmentations. Masks on different lattices or in different frames of reference are not
    compared: nothing is resampled.

    Parameters
    ----------
    dataset
        Dataset folder, or s3://bucket/name.
    where
        SQL condition on the segments table, as "structure = 'liver'".
    output
        Parquet file for all pairs.
    workers
        Processes.
    json
        Print all pairs as JSON instead of a summary.
    """
    from segtools.compare import compare as compare_dataset
    from segtools.run.executors.base import ExecutorOptions

    options = ExecutorOptions("processes" if workers > 1 else "serial", workers)
    with opened_dataset(dataset) as opened:
        table = compare_dataset(opened, where, options)
    if output is not None:
        _write(table, output)
        note(f"wrote {table.num_rows} pairs to {output}")
    if json:
        print_table(table, as_json=True)
    elif table.num_rows:
        import duckdb

        with duckdb.connect() as connection:
            connection.register("agreement", table)
            print_table(connection.execute(_SUMMARY).to_arrow_table(), as_json=False)
    else:
        note("no structure was segmented twice on one image series")
    return 0


def _write(table: pa.Table, path: Path) -> None:
    from pyarrow import parquet

    from segtools.files import replacing

    with replacing(path) as file:
        parquet.write_table(table, file, compression="zstd")
