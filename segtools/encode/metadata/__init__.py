"""What labels mean: dcmqi's JSON, BIDS tables, YAML, TotalSegmentator's names."""
