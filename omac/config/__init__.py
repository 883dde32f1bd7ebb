"""Every setting with its source and bounds; params.yaml, and the names in it, read with care."""

from omac.config.hyper import Hyper, load_params, settings

__all__ = ["Hyper", "load_params", "settings"]
