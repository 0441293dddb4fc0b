"""Positions of frames to a grid, and the grids of the segmented images."""
