"""One cell from data set to rows; which cells there are; running them, here or on Dask."""
