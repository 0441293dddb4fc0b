"""Masks as frames of pixels: which there are, packed or encoded."""
