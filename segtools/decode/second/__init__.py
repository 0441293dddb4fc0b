"""A reader of its own for `segtools.decode.verify`: slow, small, nothing shared with the first one."""
