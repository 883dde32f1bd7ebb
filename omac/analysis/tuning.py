"""The temperature axis: what each policy of a cell returns, how far its weights spread, and what a data set can tell apart.

The choice of one setting is in analysis/choice.py.
"""

from itertools import combinations

import pandas as pd

from omac.analysis.statistics import LEVEL, least_mean
from omac.schema import CONTROLS, NAMES, PUBLISHED, SET, label

WEIGHTS = ["weight_mean", "weight_std", "weight_share"]
POLICY = [*SET, "algorithm", "variant", "temperature"]  # columns that tell one setting on one data set


def final_policies(rows):
    """Return the final rows of fought policies, with texts in `variant` and `temperature`."""
    last = rows[(rows["kind"] == "final") & rows["return_mean"].notna()]
    return last.assign(variant=last["variant"].fillna("default"), temperature=last["temperature"].fillna(PUBLISHED))


def by_temperature(rows):
    """Average each policy over its seeds.

    Args:
        rows: tidy result rows of one environment and profile.
    Returns:
        A DataFrame, a line per data set, algorithm, variant and temperature: `return`, `std` over seeds (ddof 0), `win rate`,
        `spread` (the standard deviation of the weights over their mean), `share` (their effective sample share), `seeds`.
        Where nothing is weighed, all weigh the same: spread 0, share 1.
    """
    last = final_policies(rows).reindex(columns=[*POLICY, "seed", "return_mean", "win_rate", *WEIGHTS])
    spread = last["weight_std"] / last["weight_mean"]
    cloning = last["algorithm"] == "bc"
    last = last.assign(spread=spread.where(~cloning, 0.0), share=last["weight_share"].where(~cloning, 1.0))
    groups = last.groupby(POLICY, sort=False)
    found = groups[["return_mean", "win_rate", "spread", "share"]].mean()
    found.insert(1, "std", groups["return_mean"].std(ddof=0))
    found["seeds"] = groups["seed"].nunique()
    return found.rename(columns={"return_mean": "return", "win_rate": "win rate"}).reset_index()


def name_setting(algorithm, variant, temperature):
    """Name a setting as tables do: "OMAC", "OMAC, beta 15", "ICQ, t 0.01", "OMAC, w/o CVF, std 1"."""
    name = label(algorithm, variant)
    return name if temperature in ("", PUBLISHED) else f"{name}, {temperature.replace('_', ' ')}"


def table(rows):
    """`by_temperature` for readers: a line per data set and setting, numbers as text."""
    found = by_temperature(rows)
    columns = {
        **{c: found[c] for c in SET},
        "setting": [name_setting(*x) for x in found[["algorithm", "variant", "temperature"]].itertuples(index=False)],
        "return": [f"{a:.2f} ± {b:.2f}" for a, b in zip(found["return"], found["std"], strict=True)],
        "win rate": found["win rate"].map("{:.2f}".format),
        "std / mean of the weights": found["spread"].map(lambda x: "" if pd.isna(x) else f"{x:.2f}"),
        "effective sample share": found["share"].map(lambda x: "" if pd.isna(x) else f"{x:.3f}"),
        "seeds": found["seeds"],
    }
    return pd.DataFrame(columns)


def separation(rows):
    """Say how much a data set can tell apart: floor, ceiling and the difference, in points, a line per data set.

    floor: the best control; ceiling: the best setting of all; pairs told apart: of the algorithms at their published settings,
    those whose returns on the same battles differ, seed by seed, by Student's t at LEVEL, Bonferroni over the pairs. Of data
    sets with controls.
    """
    found, apart = by_temperature(rows), _told_apart(rows)
    lines = []
    for data_set, part in found.groupby(SET, sort=False):
        controls = part[part["algorithm"].isin(list(CONTROLS))]
        learned = part.drop(controls.index)
        if controls.empty or learned.empty:
            continue
        low, high = controls.loc[controls["return"].idxmax()], learned.loc[learned["return"].idxmax()]
        lines.append(
            {
                **dict(zip(SET, data_set, strict=True)),
                "floor": f"{low['return']:.2f}",
                "best control": label(low["algorithm"]),
                "ceiling": f"{high['return']:.2f}",
                "best setting": name_setting(*high[["algorithm", "variant", "temperature"]]),
                "ceiling − floor": f"{high['return'] - low['return']:.2f}",
                "pairs told apart": apart.get(data_set, ""),
            }
        )
    return pd.DataFrame(lines)


def _told_apart(rows):
    """{data set: "2 of 3"}: how many pairs of algorithms at their published settings differ, of all pairs there are."""
    last = final_policies(rows)
    last = last[
        (last["variant"] == "default") & (last["temperature"] == PUBLISHED) & last["algorithm"].isin(list(NAMES))
    ]
    found = {}
    for data_set, part in last.groupby(SET, sort=False):
        wide = part.pivot(index="seed", columns="algorithm", values="return_mean")
        gaps = [(wide[a] - wide[b]).dropna().to_numpy() for a, b in combinations(wide, 2)]
        if not gaps:
            continue
        ends = [least_mean([x], (1 - LEVEL) / 2 / len(gaps))[1:] for x in gaps]
        found[data_set] = f"{sum(low > 0 or high < 0 for low, high in ends)} of {len(gaps)}"
    return found


def starting_values(rows):
    """Q_tot where held-out battles begin, beside the discounted return of its own policies: a line per data set and setting.

    The first is what the values promise, the second what the policy earns from the same start; a battle returns 20 at most.
    Mean ± std over seeds (ddof 0). Of algorithms with values and fought policies.
    """
    last = final_policies(rows)
    if not {"q_tot_start", "discounted_mean"} <= set(last):
        return pd.DataFrame()
    lines = []
    for key, x in last.dropna(subset=["q_tot_start"]).groupby(POLICY, sort=False):
        numbers = {"Q_tot at the start": x["q_tot_start"], "its policy's discounted return": x["discounted_mean"]}
        numbers["difference"] = x["q_tot_start"] - x["discounted_mean"]
        found = {name: f"{y.mean():.2f} ± {y.std(ddof=0):.2f}" for name, y in numbers.items()}
        about = {"setting": name_setting(*key[3:]), "value steps": _value_steps(rows, key)}
        lines.append(
            {**dict(zip(SET, key, strict=False)), **about, **found, "return": f"{x['return_mean'].mean():.2f}"}
        )
        lines[-1] |= {"win rate": f"{x['win_rate'].mean():.2f}", "seeds": x["seed"].nunique()}
    return pd.DataFrame(lines)


def _value_steps(rows, key):
    """The steps of the values behind a setting, as logged; nothing where values and policy were learned side by side."""
    named = dict(zip([*SET, "algorithm", "variant"], key, strict=False))
    mine = (rows[list(named)].fillna("default") == pd.Series(named)).all(axis=1) & (rows["kind"] == "value")
    return int(rows.loc[mine, "step"].max()) if mine.any() else ""
