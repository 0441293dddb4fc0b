"""DuckDB as every room uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


def hide_progress(connection: duckdb.DuckDBPyConnection) -> None:
    """Turn off the progress bar, which DuckDB prints to stdout, terminal or not.

    In a notebook it draws a widget instead, and refuses the setting where ipywidgets is not installed;
    no bar is drawn then either.
    """
    import duckdb

    try:
        connection.execute("SET enable_progress_bar = false")
    except duckdb.InvalidInputException as error:
        if "ipywidgets" not in str(error):
            raise
