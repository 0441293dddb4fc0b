"""The images that were segmented: what a segmentation takes from their headers."""
