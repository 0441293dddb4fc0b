"""Frames of PixelData: native packings and compressed transfer syntaxes."""
