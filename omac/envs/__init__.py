"""Simulators by name, behind one interface; each is imported only when it is asked for."""

from dataclasses import replace

from omac.envs.battle import Battle, Spec, Step, View
from omac.schema import SIMULATED

__all__ = ["Battle", "Spec", "Step", "View", "fits", "make", "missing"]


def fits(data, simulator):
    """Whether policies trained on data of one Spec can fight in a simulator of another: all sizes agree.

    The state width is left out for smac-madt alone: its policies act on observations, which a stock StarCraft II can
    give, while the state of its data, needed only in training, came from another build of the package.
    """
    return replace(data, state=simulator.state) == simulator if data.env == "smac-madt" else data == simulator


def missing(name):
    """Why no battle of "<env>:<map>" can be fought on this machine, in one line; "" when it can."""
    env, _, map_name = name.partition(":")
    maps = SIMULATED.get(env, ())
    if maps is not None:
        of_env = f"{env} is fought on {', '.join(maps)} alone" if maps else f"there are {', '.join(SIMULATED)}"
        return (
            ""
            if map_name in maps
            else f"no simulator is known for {name} ({of_env}): offline metrics take the place of scores"
        )
    from omac.envs.smac.env import require_smac

    try:
        require_smac()
    except RuntimeError as e:
        return str(e)
    return ""


def make(name, battles=32):
    """A Battle from "<env>:<map>", for instance "smax:6h_vs_8z" or "toy:line", with `battles` side by side.

    Raises ValueError for a name that is not known. Each simulator is imported only when it is asked for.
    """
    env, _, map_name = name.partition(":")
    if env == "smax":
        from omac.envs.smax import Smax as cls
    elif env == "toy":
        from omac.envs.toy import Toy as cls
    elif env == "smac":
        from omac.envs.smac.env import Smac as cls
    elif env == "smac-madt":
        from omac.envs.smac.env import smac_madt as cls
    else:
        raise ValueError(
            f"unknown environment {name!r}: write smax:<map> (embedded), toy:line (for tests), smac:<map> (StarCraft II) or "
            "smac-madt:<map> (the same, seen as MADT's data see it)"
        )
    return cls(map_name, battles)
