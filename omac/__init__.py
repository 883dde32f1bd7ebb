"""OMAC: a reproducible companion to "Offline Multi-Agent RL with Coupled Value Factorization"."""

__version__ = "0.1.0"
