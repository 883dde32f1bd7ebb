"""What others recorded, a file a layout: each has `load(files, about)`, which yields Episodes in parts."""
