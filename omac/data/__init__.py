"""Episodes, the one container and HDF5 layout, and the rules that it is checked by."""
