"""MAPPO, its snapshots cut into levels, and the collection of SMAX data with them."""
