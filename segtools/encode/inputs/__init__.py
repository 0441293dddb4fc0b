"""Mask files: NIfTI, NRRD, seg.nrrd, NumPy; each as label arrays with a place in space."""
