"""Frames to label maps: stored values, masks, layers."""
