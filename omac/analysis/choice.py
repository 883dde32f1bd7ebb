"""The choice of one setting for each algorithm, by one protocol: docs/tuning.md.

At most six settings an algorithm, the published one first. They are compared on CHOSEN_ON, with seeds and battles of their
own, and the chosen one is reported on all other data sets.
"""

import numpy as np
import pandas as pd

from omac.analysis.tuning import final_policies, name_setting
from omac.files import read_rows
from omac.paths import ROOT
from omac.schema import SET

CHOSEN_ON = (("6h_vs_8z", "poor"), ("6h_vs_8z", "medium"), ("3s5z_vs_3s6z", "medium"))
MOST_SETTINGS = 6


def read_choosing(folder=ROOT / "data" / "choosing"):
    """Read the rows of the cells that settings are chosen on: a DataFrame, or None where none has been run."""
    files = sorted(folder.glob("*.csv"))
    return pd.concat([read_rows(f) for f in files], ignore_index=True) if files else None


def not_chosen_on(rows):
    """Return the rows of the data sets that no setting was chosen on: what settings are reported on."""
    return rows[~pd.MultiIndex.from_frame(rows[["map", "level"]]).isin(CHOSEN_ON)]


def gains(rows, algorithm):
    """Return the returns of an algorithm's settings less BC's mean, in points: {data set: table [seed, setting]} of CHOSEN_ON.

    A setting is (variant, temperature).
    """
    last = final_policies(rows)
    last = last[last["ratio"] == 100]
    found = {}
    for (name, level), part in last.groupby(["map", "level"], sort=False):
        cloning = part[(part["algorithm"] == "bc") & (part["variant"] == "default")]["return_mean"]
        own = part[part["algorithm"] == algorithm]
        if (name, level) in CHOSEN_ON and len(cloning) and len(own):
            wide = own.pivot(index="seed", columns=["variant", "temperature"], values="return_mean")
            found[name, level] = wide - cloning.mean()
    return found


def choose_setting(found):
    """Choose one setting by the rule: the highest mean gain over the data sets; of those within one standard error of it, the
    first. The standard error is that of the best one's mean over data sets, sqrt(sum_d s_d^2 / n_d) / D.

    Args:
        found: as `gains` returns it, of complete tables whose columns are in the order of the settings.
    Returns:
        The setting, (variant, temperature).
    Raises:
        ValueError: more than MOST_SETTINGS settings, a data set of CHOSEN_ON that is missing, or a gap.
    """
    absent = [" ".join(d) for d in CHOSEN_ON if d not in found]
    if absent:
        raise ValueError(f"no choice yet: {', '.join(absent)} not run; a setting is chosen on all of CHOSEN_ON")
    tables = list(found.values())
    settings = list(tables[0])
    if len(settings) > MOST_SETTINGS:
        raise ValueError(f"{len(settings)} settings; {MOST_SETTINGS} is the most, for every algorithm")
    if any(list(x) != settings or x.isna().any(axis=None) for x in tables):
        raise ValueError("the data sets do not have the same settings and seeds: run what is missing")
    mean = np.mean([x.mean().to_numpy() for x in tables], axis=0)
    best = int(mean.argmax())
    variance = [x.iloc[:, best].var(ddof=1) / len(x) for x in tables]
    error = np.sqrt(np.sum(variance)) / len(tables)
    return settings[int(np.flatnonzero(mean >= mean[best] - error)[0])]


def chosen(rows):
    """Return the temperature that the rule chooses for each algorithm, {algorithm: temperature}.

    rows: as `read_choosing` returns them, or None. An algorithm of which a data set of CHOSEN_ON is missing is left out.
    """
    found = {}
    for algorithm in [] if rows is None else dict.fromkeys(final_policies(rows)["algorithm"]):
        tables = gains(rows, algorithm)
        if len(tables) == len(CHOSEN_ON):
            _, found[algorithm] = choose_setting(tables)
    return found


def choice_table(rows):
    """Tabulate what the choice rests on, a line per setting: its gain over BC on each data set of CHOSEN_ON, mean ± std over seeds
    (ddof 0), their mean, whether the rule takes it, and the battles that its algorithm has spent on being chosen.

    rows: as `read_choosing` returns them, or None.
    """
    columns = [" ".join(d) for d in CHOSEN_ON]
    lines, taken = [], chosen(rows)
    for algorithm in [] if rows is None else dict.fromkeys(final_policies(rows)["algorithm"]):
        tables = gains(rows, algorithm)
        last = final_policies(rows)
        battles = int(last.loc[last["algorithm"] == algorithm, "episodes"].sum())
        for variant, temperature in next(iter(tables.values()), {}):
            found = {d: x[variant, temperature] for d, x in tables.items() if (variant, temperature) in x}
            texts = [
                f"{found[d].mean():.2f} ± {found[d].std(ddof=0):.2f}" if d in found else "not run yet"
                for d in CHOSEN_ON
            ]
            mean = f"{np.mean([x.mean() for x in found.values()]):.2f}" if len(found) == len(CHOSEN_ON) else ""
            mark = "chosen" if taken.get(algorithm) == temperature else ""
            lines.append([name_setting(algorithm, variant, temperature), *texts, mean, mark, battles])
    return pd.DataFrame(lines, columns=["setting", *columns, "mean gain over BC", "", "battles of all its settings"])


def battles_spent(rows):
    """Say what return may be expected for the battles that are spent on choosing a temperature.

    k settings are drawn with replacement, each fights the final battles of all its seeds, and the best is kept. Exact, with
    settings' means y_(1) <= ... <= y_(N): sum_i y_(i) ((i/N)^k - ((i-1)/N)^k).

    Args:
        rows: tidy result rows of one environment and profile.
    Returns:
        A DataFrame, a line per data set, algorithm and k = 1, ..., N: `battles` and `return`. Of default variants with two
        temperatures or more.
    """
    last = final_policies(rows)
    last = last[last["variant"] == "default"]
    lines = []
    for key, part in last.groupby([*SET, "algorithm"], sort=False):
        of_settings = part.groupby("temperature")
        means = np.sort(of_settings["return_mean"].mean().to_numpy())
        if len(means) == 1:
            continue
        battles = of_settings["episodes"].sum().max()
        share = np.arange(len(means) + 1) / len(means)
        for k in range(1, len(means) + 1):
            found = {"battles": int(k * battles), "return": float(means @ np.diff(share**k))}
            lines.append({**dict(zip([*SET, "algorithm"], key, strict=True)), "settings": k, **found})
    return pd.DataFrame(lines, columns=[*SET, "algorithm", "settings", "battles", "return"])
