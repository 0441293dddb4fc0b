"""The stage `report`: a dataset in numbers, in pictures, and as one self-contained HTML page."""
