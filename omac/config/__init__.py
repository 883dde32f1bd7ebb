"""Every setting with its source and bounds; params.yaml, and the names in it, read with care."""
