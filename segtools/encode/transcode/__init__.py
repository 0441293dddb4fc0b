"""A segmentation in another form: another codec, another type, or a file for people."""
