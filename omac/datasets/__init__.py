"""Data sets by name: registry, samples, digests, cards, and what others recorded."""
