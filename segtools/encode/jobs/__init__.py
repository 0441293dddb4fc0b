"""From files to a file: what is to be encoded, read, put together, written and checked."""
