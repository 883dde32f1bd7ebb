"""Real StarCraft II (oxwhirl/smac). This version only finds out whether the right package is there; battles in it are not here yet."""

import importlib.util

HOW = "pip install '.[smac]' (from its git repository) and install StarCraft II 4.10 with SC2PATH set"


def require_smac():
    """Raise RuntimeError unless the StarCraft Multi-Agent Challenge is installed; tells PyPI's unrelated `smac` apart."""
    try:
        found, right = importlib.util.find_spec("smac"), None
        right = found and importlib.util.find_spec("smac.env")
    except ImportError:
        found, right = True, None
    if not found:
        raise RuntimeError(
            f"the StarCraft Multi-Agent Challenge is not installed: {HOW}. PyPI's package `smac` is another program"
        )
    if not right:
        raise RuntimeError(
            f"the installed package `smac` is PyPI's SMAC3, a hyper-parameter optimiser: pip uninstall smac, then {HOW}"
        )


class Smac:
    """Placeholder of the StarCraft II adapter: names what is missing and stops."""

    def __init__(self, map_name, battles):
        require_smac()
        raise RuntimeError(
            f"smac:{map_name}: this version of the companion fights in SMAX alone: write smax:{map_name}"
        )
