"""Fetch: from selected series to checked files on this machine."""
