"""What was written, read back and checked."""
