"""The tables of docs/_generated, a Markdown file each, and README's matrix of scores; all from committed files.

What a table says is discussed on the page of docs/ that links to it.
"""

import json

import pandas as pd

from omac.analysis.choice import choice_table, read_choosing
from omac.analysis.credit_weights import correlations, path_of
from omac.analysis.paper_tables import cards
from omac.analysis.results import (
    HEADLINE,
    at_temperatures,
    crossing,
    difference,
    final_table,
    markdown,
    offline,
    short,
    weighing,
)
from omac.analysis.select import caption, choose
from omac.analysis.steps import read_curves
from omac.analysis.steps import table as steps_table
from omac.analysis.tuning import by_temperature, name_setting, starting_values
from omac.analysis.tuning import table as temperature_table
from omac.files import read_rows, read_table
from omac.paths import ROOT, atomic
from omac.schema import CONTROLS, DISTRIBUTIONS, LEVELS, MAPS, NAMES, OFFLINE, SET, VARIANTS, label

DATA = ROOT / "data"
GENERATED = ROOT / "docs" / "_generated"
CREDIT_MAP = "6h_vs_8z"  # of Figure 4
LAST_UPDATES = 30  # of MAPPO: the mean over them says where a training seed ended


LAST = "mean ± std over seeds (ddof 0) of the last policy, greedy"


def docs_tables(overview):
    """Build every file of docs/_generated from the committed rows.

    Args:
        overview: the data cards, a line per data set (datasets.cards.overview).
    Returns:
        {file name: Markdown text}.
    """
    study, quick = (read_rows(DATA / name / "results.csv") for name in (".", "quick"))
    real = pd.concat([read_rows(f) for f in sorted((DATA / "real").glob("*.csv"))])
    pages = _scores(study, quick) | _values(study, quick) | _data(overview, real)
    return {f"{name}.md": _page(*parts) for name, parts in pages.items()}


def _scores(study, quick):
    fought = caption(choose(study))
    return {
        "final_scores": (
            "Final scores",
            f"{fought}; {LAST}. `last five` and `best` are returns of the shorter evaluations during training.",
            final_table(at_temperatures(study))[HEADLINE],
        ),
        "omac_minus_baselines": (
            "OMAC minus each baseline",
            f"{fought}. Difference of returns on the same battles, seed by seed; mean ± std over seeds (ddof 0).",
            baseline_differences(study),
        ),
        "temperatures": (
            "Every policy of the study",
            f"{fought}; {LAST}. Values first, then a policy for each temperature on the same values. `effective sample share`: "
            "of the weights of cloning, 1 where all weigh the same.",
            temperature_table(study[study["profile"] == "laptop"]),
        ),
        "choice": (
            "What settings were chosen by",
            "Gains over BC in points of return, mean ± std over seeds (ddof 0), on the data sets and with the seeds of the choice. "
            "`chosen`: the first setting within one standard error of the best mean. The rows are in `data/choosing`.",
            choice_table(read_choosing()),
        ),
        "quick": (
            "Scores of `make quick`",
            f"6h_vs_8z medium. {caption(choose(quick, profile='quick'))}; {LAST}. `episodes`: battles of all seeds, or "
            "episodes of the data set.",
            short(final_table(at_temperatures(quick))),
        ),
    }


def _values(study, quick):
    late = pd.concat([read_rows(f) for f in sorted((DATA / "register").glob("*-late.csv"))])
    return {
        "steps": (
            "Steps by the rule",
            "OMAC's values of three seeds that are none of the study's, by their correlation with the returns that followed in held-out "
            "episodes. Means over seeds; Q_tot and the return that followed are those of the data trained on. The rows are in `data/steps`.",
            steps_table(read_curves()),
        ),
        "weight_statistics": (
            "Weight statistics",
            f"{caption(choose(study))}; {LAST}. The weights are exp(beta A) of Eq. 8, for ICQ its softmax weights. A std of "
            "0 is behaviour cloning. `log-likelihood` is that of held-out actions, in nats.",
            weighing(study),
        ),
        "value_convergence": (
            "Where Q_tot crosses the returns in the data",
            "Means over seeds, on transitions spread evenly over the data. Q_tot is compared with the discounted "
            "return-to-go in the data. `correlation` is Pearson's of the two. A crossing is no convergence, and values are not "
            "better for being nearer to these returns, which are the behaviour policies'.",
            crossing(pd.concat([study, quick])),
        ),
        "starting_values": (
            "What values promise, and what their policies earn",
            f"{caption(choose(study))}. Q_tot where held-out battles begin, and the mean discounted return of the policies that "
            "learned from it. No battle returns more than 20. `15000 steps of the values`: rows in `data/register`.",
            starting_values(pd.concat([study[study["profile"] == "laptop"], late])),
        ),
        "credit_correlations": (
            "Correlation of the credit weights",
            f"w_v and the mean of w_q over a_i, {CREDIT_MAP}, SMAX; means over seeds. `within an agent`: mean over agents.",
            credit_correlations(),
        ),
        "bcq_values": (
            "BCQ-MA: values by threshold",
            "6h_vs_8z medium, SMAX; means over seeds at the first and last snapshot.",
            bcq_values(study),
        ),
    }


def _data(overview, real):
    return {
        "data_cards": (
            "Data sets",
            "SMAX: seeded samples of the raw data sets. ODIS: the whole file, real StarCraft II. `std`, `min` and `max` are "
            "those of returns. `dead`: share of agent-steps at which the agent could only stop.",
            overview,
        ),
        "behaviour_policies": (
            "Behaviour policies",
            f"MAPPO in SMAX, by training seed; means over the last {LAST_UPDATES} updates, actions sampled. The last column "
            f"is the first step at which the mean win rate over {LAST_UPDATES} updates is 0.9.",
            behaviour_policies(),
        ),
        "behaviour_tries": (
            "Tries of MAPPO with other settings",
            f"5m_vs_6m; one seed each, stopped early, actions sampled; means over the last {LAST_UPDATES} updates. `settings` and `simulator`: "
            "what differs from `Mappo(battle_steps=10_000_000)` and from JaxMARL's map, on which walls kill here. The columns `before` and `now` are of whole trainings after as many battle-steps, mean over "
            "two seeds: of the one before anything was changed (JaxMARL's map, no entropy bonus), and of the committed one. "
            "`core-minutes`: of the processor, on a machine that did other work beside. The rows are in `data/tries`.",
            behaviour_tries("5m_vs_6m"),
        ),
        "odis_offline": (
            "ODIS 3m medium, offline metrics",
            "Real StarCraft II data; mean ± std over seeds (ddof 0) of the last networks, on held-out episodes.",
            offline(real)[["map", "level", "algorithm", "profile", *OFFLINE.values()]],
        ),
        "odis_value_convergence": (
            "ODIS 3m medium: where Q_tot crosses the returns in the data",
            "The columns are those of [the table of SMAX](value_convergence.md), on real StarCraft II data.",
            crossing(real),
        ),
    }


def _page(title, about, table):
    return f"# {title}\n\nWritten by `python -m omac tables`.\n{about}\n\n{markdown(table)}\n"


def write_docs_tables(overview, folder=GENERATED):
    """Write `docs_tables` to `folder`. Returns the paths."""
    paths = []
    for name, text in docs_tables(overview).items():
        with atomic(folder / name) as part:
            part.write_text(text)
        paths.append(folder / name)
    return paths


def score_matrix(rows, map_name="6h_vs_8z", weights_of="medium", env="smax", profile="laptop"):
    """Tabulate the last policies of one map, return (win rate): a line per setting, a column per level that OMAC was
    run on.

    Args:
        rows: result rows; samples smaller than 100 %, OMAC's ablations, what was learned side by side and all controls but
            random actions are left out.
        weights_of: the level whose effective sample shares of the weights stand beside the returns.
    Returns:
        A DataFrame of text, its first column the setting.
    """
    mine = (
        (rows["env"] == env)
        & (rows["map"] == map_name)
        & (rows["ratio"] == 100)
        & ~rows["variant"].isin([*VARIANTS, "joint"])
    )
    rows = rows[mine & ((rows["profile"] == profile) | (rows["kind"] == "data"))]
    rows = rows[rows["level"].isin(rows.loc[rows["algorithm"] == "omac", "level"])]
    found, texts = by_temperature(rows[~rows["algorithm"].isin(["majority", "clock"])]), {}
    for data in rows[rows["kind"] == "data"].itertuples():
        texts[NAMES["data"], data.level] = f"{data.return_mean:.2f} ({data.win_rate:.0%})"
    order = {name: i for i, name in enumerate((*CONTROLS, *NAMES))}
    for x in found.sort_values("algorithm", key=lambda y: y.map(order), kind="stable").to_dict("records"):
        name = name_setting(x["algorithm"], x["variant"], x["temperature"])
        texts[name, x["level"]] = f"{x['return']:.2f} ± {x['std']:.2f} ({x['win rate']:.0%})"
        if x["level"] == weights_of and x["share"] == x["share"]:
            texts[name, "share"] = f"{x['share']:.3f}"
    levels = [level for level in LEVELS if any(level == at for _, at in texts)]
    settings = dict.fromkeys(name for name, _ in texts)
    lines = [[name, *(texts.get((name, at), "") for at in (*levels, "share"))] for name in settings]
    return pd.DataFrame(lines, columns=[f"{map_name}, return (win rate)", *levels, f"sample share ({weights_of})"])


def level_matrix():
    """Tabulate the SMAX data sets for README.md, mean return (win rate) from their cards: a line per map, a column per level."""
    found = cards().droplevel(["ratio", "algorithm"])
    text = found["return"].map("{:.2f}".format) + found["win rate"].map(" ({:.0%})".format)
    return text.unstack("level").reindex(index=MAPS, columns=LEVELS).rename_axis(None, axis=1).reset_index()


def baseline_differences(study):
    """Tabulate the return of OMAC minus that of each baseline: a line per baseline and data set that both have."""
    tables = []
    for other in (name for name in NAMES if name not in ("data", "omac")):
        table = difference(study, other=other)
        table.columns = [*SET, "profile", "OMAC minus baseline", "seeds ahead"]
        tables.append(table.assign(baseline=NAMES[other])[["baseline", *table.columns]])
    return pd.concat(tables)


def credit_correlations():
    """Tabulate how w_v goes with the mean of w_q: a line per level, variant and distribution of a_i (Figure 4)."""
    lines = []
    for level in LEVELS:
        path = path_of(f"smax-{CREDIT_MAP}-{level}-100")
        if path.exists():
            table = correlations(read_table(path))
            table = table[~table["seed"].isin(["pooled", "scaled"])]
            for (variant, a_i), group in table.groupby(["variant", "a_i"], sort=False):
                numbers = [f"{group[c].mean():.2f}" for c in ("pearson", "spearman", "agent")]
                lines.append([level, label("omac", variant), DISTRIBUTIONS[a_i], *numbers])
    return pd.DataFrame(lines, columns=["level", "algorithm", "a_i", "Pearson", "Spearman", "Pearson within an agent"])


def bcq_values(study):
    """Tabulate Q_tot and L_Q of BCQ-MA at the first and last snapshot, for each threshold that was run."""
    register = [read_rows(f) for f in sorted((DATA / "register").glob("*-bcq-*.csv"))]
    rows = pd.concat([study[(study["map"] == "6h_vs_8z") & (study["level"] == "medium")], *register])
    rows = rows[(rows["algorithm"] == "bcq") & (rows["kind"] == "eval")]
    lines = []
    for (profile, variant), group in rows.groupby(["profile", "variant"], sort=False):
        mean = group.groupby("step")[["q_tot", "L_Q", "return_followed"]].mean()
        first, end = mean.iloc[0], mean.iloc[-1]
        change = [f"{first[c]:.2f} to {end[c]:.2f}" for c in ("q_tot", "L_Q")]
        lines.append([label("bcq", variant), profile, int(mean.index[-1]), *change, f"{end['return_followed']:.2f}"])
    return pd.DataFrame(
        lines, columns=["algorithm", "profile", "steps", "Q_tot", "L_Q", "discounted return-to-go in the data"]
    )


def behaviour_policies():
    """Tabulate where MAPPO's training ended: a line per map and training seed."""
    lines = []
    for name in MAPS:
        for seed, curve in read_table(DATA / "behaviour" / f"smax-{name}.csv").groupby("seed"):
            last = curve.tail(LAST_UPDATES)
            won = curve["steps"][curve["win_rate"].rolling(LAST_UPDATES).mean() >= 0.9]
            steps = [f"{x / 1e6:.1f}" for x in (curve["steps"].max(), *won.head(1))]
            scores = [f"{last['return'].mean():.1f}", f"{last['win_rate'].mean():.2f}"]
            lines.append([name, seed, steps[0], *scores, steps[1] if len(won) else "never"])
    return pd.DataFrame(
        lines,
        columns=["map", "seed", "million battle-steps", "return", "win rate", "90 % wins after (million battle-steps)"],
    )


def behaviour_tries(map_name):
    """Tabulate what MAPPO came to with other settings or in another simulator: a line per try and seed."""
    whole = {
        "before": read_table(DATA / "tries" / f"smax-{map_name}-before.csv"),
        "now": read_table(DATA / "behaviour" / f"smax-{map_name}.csv"),
    }
    lines = []
    for x in read_table(DATA / "tries" / f"smax-{map_name}.csv").to_dict("records"):
        lines.append(
            {
                "try": x["try"],
                "settings": _pairs(json.loads(x["settings"]), without="battle_steps"),
                "simulator": _pairs(json.loads(x["simulator"]), without="walls_cause_death"),
                "seed": x["seed"],
                "million battle-steps": f"{x['battle_steps'] / 1e6:.2f}",
                "return": f"{x['return']:.2f}",
                "win rate": f"{x['win_rate']:.3f}",
                "entropy": f"{x['entropy']:.2f}",
                "core-minutes": f"{x['core_minutes']:.1f}",
                "machine": x["machine"],
            }
        )
        for name, curve in whole.items():
            last = curve[curve["steps"] < x["battle_steps"]].groupby("seed").tail(LAST_UPDATES)
            lines[-1] |= {
                f"return {name}": f"{last['return'].mean():.2f}",
                f"win rate {name}": f"{last['win_rate'].mean():.3f}",
            }
    return pd.DataFrame(lines)


def _pairs(settings, without=None):
    """Settings, a dict, in words."""
    return ", ".join(f"{k} {v}" for k, v in settings.items() if k != without) or "none"
