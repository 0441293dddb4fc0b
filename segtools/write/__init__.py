"""Write one canonical dataset folder: volumes per series, staged parts, and the commit."""
