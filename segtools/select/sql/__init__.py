"""The query library and what becomes of its SQL before an engine runs it."""
