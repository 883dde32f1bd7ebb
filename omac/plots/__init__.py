"""Figures, one module a topic, one style. The only package that imports matplotlib."""
