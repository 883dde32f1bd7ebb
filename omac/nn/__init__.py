"""Networks on the seed axis, and one pure function per equation."""
