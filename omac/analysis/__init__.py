"""Rows -> selections, statistics, tables. Nothing here needs torch."""
