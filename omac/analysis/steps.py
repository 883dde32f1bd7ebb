"""How many steps: the rules that `steps` and `policy_steps` of params.yaml follow, on the curves of data/steps."""

import pandas as pd

from omac.files import read_table
from omac.paths import ROOT

EVERY = 1_000  # steps between two points of a curve
VALUE_STEPS = 20_000  # steps of the values at most
PAST = 4_000  # steps behind the best point at which a curve may end
AS_GOOD = 0.01  # of the correlation: what more steps gain beyond it is not worth them
AS_LIKELY = 0.01  # nats: an action is at most 1 % less likely
CLONING_STEPS = 8_000  # steps of cloning that are looked at


def held_correlation(curve):
    """Return the held-out correlation of Q_tot with the return that followed, of the rows of one data set's values: a DataFrame of a
    line a step, a column a seed.
    """
    return curve.pivot(index="step", columns="seed", values="held_q_correlation")


def is_past_best(curve):
    """Say whether the mean correlation over seeds has been below its best for PAST steps, on the rows of one data set's values."""
    mean = held_correlation(curve).mean(axis=1)
    return mean.index[-1] - mean.idxmax() >= PAST


def best_step(curve):
    """Return (the first step whose mean held-out correlation is within AS_GOOD of the best, the best step), of one data set."""
    mean = held_correlation(curve).mean(axis=1)
    return int((mean >= mean.max() - AS_GOOD).idxmax()), int(mean.idxmax())


def read_curves(folder=ROOT / "data" / "steps"):
    """Read the curves of all data sets: a DataFrame with the columns map, level, curve, seed, step, of the values q_tot,
    return_followed and held_q_correlation, of cloning held_log_likelihood.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise FileNotFoundError(
            f"no curves in {folder}: run `python -m omac steps values DATASET`, and `steps cloning`"
        )
    return pd.concat([read_table(f) for f in files], ignore_index=True)


def value_steps(found):
    """Return {(map, level): steps of the values by `best_step`} of the curves."""
    of_values = found[found["curve"] == "values"].groupby(["map", "level"], sort=False)
    return {data_set: best_step(x)[0] for data_set, x in of_values}


def policy_steps(found):
    """Return one number of policy steps for all data sets: the largest at which the held-out log-likelihood of cloning,
    averaged over data sets, is within AS_LIKELY of its best.
    """
    likelihood = found[found["curve"] == "cloning"].groupby("step")["held_log_likelihood"].mean()
    return int(likelihood.index[likelihood >= likelihood.max() - AS_LIKELY].max())


def table(found):
    """Return one line per data set: the steps of its values by the rule, and what they were then and at the curve's end."""
    lines = []
    of_cloning = found[found["curve"] == "cloning"].set_index("step").groupby(["map", "level"])
    likeliest = of_cloning["held_log_likelihood"].idxmax()
    for (name, level), curve in found[found["curve"] == "values"].groupby(["map", "level"], sort=False):
        steps, best = best_step(curve)
        correlation = held_correlation(curve)
        mean = curve.groupby("step")[["q_tot", "td_error", "held_td_error"]].mean()
        q_tot, gap = mean["q_tot"], mean["held_td_error"] / mean["td_error"]
        last = int(q_tot.index[-1])
        lines.append(
            {
                "map": name,
                "level": level,
                "steps of the values": steps,
                "held-out correlation": f"{correlation.loc[steps].mean():.3f}",
                "best": f"{correlation.loc[best].mean():.3f}",
                "at step": best,
                "return that followed": f"{curve['return_followed'].mean():.2f}",
                "Q_tot": f"{q_tot[steps]:.2f}",
                "drift of Q_tot in the last thousand steps": f"{100 * (q_tot[steps] / q_tot.shift()[steps] - 1):.0f} %",
                "held-out TD error over that of the data": f"{gap[steps]:.2f}",
                "curve ends at step": last,
                "correlation there": f"{correlation.loc[last].mean():.3f}",
                "Q_tot there": f"{q_tot[last]:.2f}",
                "TD errors there": f"{gap[last]:.2f}",
                "cloning's held-out likelihood is highest at step": likeliest.get((name, level), ""),
            }
        )
    return pd.DataFrame(lines)
