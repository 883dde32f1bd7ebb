"""How many steps: the rules that `steps` and `policy_steps` of params.yaml follow, on the curves of data/steps."""

import pandas as pd

from omac.files import read_table
from omac.paths import ROOT

EVERY = 1_000  # steps between two points of a curve
DRIFT = 0.02  # of the mean of Q_tot in EVERY steps: values that move less have converged
VALUE_STEPS = 20_000  # steps of the values at most; a data set that is not converged by then is marked
AS_LIKELY = 0.01  # nats: an action is at most 1 % less likely
CLONING_STEPS = 8_000  # steps of cloning that are looked at


def converged(q_tot):
    """Return the first step at which the mean of Q_tot has moved by less than DRIFT in EVERY steps, or None.

    q_tot: a Series by step.
    """
    moved = (q_tot.diff() / q_tot).abs()
    steps = q_tot.index[moved < DRIFT]
    return int(steps[0]) if len(steps) else None


def read_curves(folder=ROOT / "data" / "steps"):
    """Read the curves of all data sets: a DataFrame with the columns map, level, curve, step, q_tot, return_followed,
    held_log_likelihood.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise FileNotFoundError(
            f"no curves in {folder}: run `python -m omac steps values DATASET`, and `steps cloning`"
        )
    return pd.concat([read_table(f) for f in files], ignore_index=True)


def value_steps(found):
    """Return {(map, level): step at which the values have converged, VALUE_STEPS where they have not} of curves."""
    of_values = found[found["curve"] == "values"]
    return {
        data_set: converged(x.set_index("step")["q_tot"]) or VALUE_STEPS
        for data_set, x in of_values.groupby(["map", "level"], sort=False)
    }


def policy_steps(found):
    """Return one number of policy steps for all data sets: the largest at which the held-out log-likelihood of cloning,
    averaged over data sets, is within AS_LIKELY of its best.
    """
    likelihood = found[found["curve"] == "cloning"].groupby("step")["held_log_likelihood"].mean()
    return int(likelihood.index[likelihood >= likelihood.max() - AS_LIKELY].max())


def table(found):
    """Return one line per data set: the steps of its values by the rule, and its Q_tot then, before, and the returns that followed."""
    lines = []
    best = (
        found[found["curve"] == "cloning"].set_index("step").groupby(["map", "level"])["held_log_likelihood"].idxmax()
    )
    for (name, level), steps in value_steps(found).items():
        x = found[(found["curve"] == "values") & (found["map"] == name) & (found["level"] == level)].set_index("step")
        end = x.loc[steps]
        crossed = x.index[x["q_tot"] >= x["return_followed"]]
        done = converged(x["q_tot"]) is not None
        lines.append(
            {
                "map": name,
                "level": level,
                "return that followed": f"{end['return_followed']:.2f}",
                "Q_tot meets it at step": int(crossed[0]) if len(crossed) else "never",
                "Q_tot converged at step": steps if done else f"not by {VALUE_STEPS}",
                "Q_tot then": f"{end['q_tot']:.2f}",
                "cloning's held-out likelihood is highest at step": best.get((name, level), ""),
            }
        )
    return pd.DataFrame(lines)
