"""The published numbers as committed, our runs beside them, and the figure of the profiles."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from omac import schema
from omac.analysis import choice, comparison, paper_tables, results, select
from omac.config.hyper import load_params
from omac.files import read_table
from omac.paths import ROOT
from omac.plots import profiles, style

KEYS = ["map", "level", "ratio", "algorithm"]
FIVE = {"omac", "icq", "omar", "bcq", "cql"}
MAPS = ["5m_vs_6m", "6h_vs_8z", "3s5z_vs_3s6z", "corridor"]
STUDY = read_table(ROOT / "data" / "results.csv")


def rows(*cells, **other):
    """Result rows: for each (map, level, algorithm, returns) a final row and two snapshots a seed, and the data sets' own."""
    base = {"env": "smax", "ratio": 100, "profile": "laptop", "variant": "default", "episodes": 320, **other}
    found = []
    for map_name, level, algorithm, returns in cells:
        for seed, r in enumerate(returns):
            about = {**base, "map": map_name, "level": level, "algorithm": algorithm, "seed": seed, "win_rate": r / 100}
            found += [{**about, "kind": "final", "step": 2, "return_mean": r}]
            found += [{**about, "kind": "eval", "step": t, "return_mean": r + t} for t in (1, 2)]
        own = {"algorithm": "data", "variant": "", "kind": "data", "return_mean": 70.0, "win_rate": 0.7}
        found.append({**base, "map": map_name, "level": level, **own})
    return pd.DataFrame(found).drop_duplicates()


SOME = rows(
    ("6h_vs_8z", "good", "omac", [71.0, 73.0]),
    ("6h_vs_8z", "good", "bc", [72.0, 72.0, 72.0]),
    ("6h_vs_8z", "poor", "omac", [75.0, 77.0]),
)


def test_the_papers_tables_are_whole_and_each_cell_is_there_once():
    for name, lines, ratios, names in (("table1", 45, {"100", "50", "10"}, MAPS[1:2]), ("table4", 60, {"100"}, MAPS)):
        table = paper_tables.published(name)
        assert len(table) == lines == len(table[KEYS].drop_duplicates())
        assert table["map"].drop_duplicates().tolist() == names and set(table.level) == {"good", "medium", "poor"}
        assert set(table.algorithm) == FIVE and set(table.ratio) == ratios
        assert set(table.env) == {"smac"} and set(table.n_seeds) == {"5"}
        assert table["mean"].astype(float).between(2, 20).all() and table["std"].astype(float).between(0.05, 3).all()


def test_cells_of_the_paper_are_as_printed():
    one, four = (paper_tables.published(n).set_index(KEYS)[["mean", "std"]] for n in ("table1", "table4"))
    assert one.loc["6h_vs_8z", "medium", "50", "omar"].tolist() == ["10.047", "0.11"]  # three digits there alone
    assert one.loc["6h_vs_8z", "good", "50", "omar"].tolist() == ["9.00", "0.27"]
    assert one.loc["6h_vs_8z", "poor", "10", "omac"].tolist() == ["8.59", "0.21"]
    assert four.loc["3s5z_vs_3s6z", "medium", "100", "omac"].tolist() == ["14.47", "1.11"]
    assert four.loc["corridor", "poor", "100", "cql"].tolist() == ["3.89", "0.89"]
    whole = one.xs("100", level="ratio", drop_level=False)
    pd.testing.assert_frame_equal(whole, four.loc[whole.index])  # the paper prints these fifteen twice


def test_omac_is_best_where_the_papers_text_says_so():
    """6.3: "consistently outperforms the baseline algorithms in all tasks" (Table 1); 6.2: "in most maps" (Table 4)."""
    best = {
        n: paper_tables.highest_algorithm(paper_tables.beside(STUDY, n), "SMAC return (paper)")
        for n in ("table1", "table4")
    }
    assert best["table1"].tolist() == ["OMAC"] * 9
    assert len(best["table4"]) == 12 and (best["table4"] == "OMAC").sum() == 9
    assert best["table4"]["3s5z_vs_3s6z", "good", "100"] == "BCQ-MA"
    assert best["table4"]["corridor", "good", "100"] == "ICQ"


def test_others_numbers_are_whole_and_named_by_source():
    table = paper_tables.published("elsewhere")
    assert len(table) == 72 == len(table[KEYS].drop_duplicates())
    assert set(table.algorithm) == {"data", "bc", "bcq", "cql", "icq", "omar", "omiga", "comadice"}
    assert table["mean"].astype(float).between(2, 20).all() and table.source.str.len().gt(0).all()
    wide = paper_tables.elsewhere()
    assert wide.index.tolist() == [(m, level) for m in MAPS for level in schema.LEVELS]
    assert wide.loc[("corridor", "good"), ["data", "ComaDICE", "OMAC (paper)"]].tolist() == ["19.88", "17.98", "15.21"]
    assert wide.loc[("3s5z_vs_3s6z", "poor")].tolist() == [""] * 8 + ["8.82"]


def test_table_2_of_the_paper_is_what_the_study_trains_with():
    table, quick = (
        paper_tables.hyperparameters(load_params(), p).set_index("the paper's word") for p in ("laptop", "quick")
    )
    numbers = table.drop(index="Optimizer").iloc[:, :2].map(lambda x: [float(v) for v in x.split(" or ")])
    assert len(table) == 13 and (numbers["its value"] == numbers["ours (laptop)"]).all()
    assert quick.loc["Hidden dimension"].tolist() == ["256", "64", "hidden"]


def test_our_numbers_and_the_papers_never_share_a_column():
    """Ours are above 20 here and nothing published is."""
    for name in ("table1", "table4"):
        table = paper_tables.beside(SOME, name)
        high = table.map(lambda x: x[:1] == "7" and float(x.split(" ")[0]) >= 70)
        assert high["SMAX return (ours)"].sum() == 5 and high.drop(columns="SMAX return (ours)").to_numpy().sum() == 0
        assert all(c.split()[0] == ("SMAX" if "ours" in c else "SMAC") for c in table)


def test_a_table_shows_ours_beside_the_paper_and_says_what_has_not_been_run():
    table = paper_tables.beside(SOME, "table4")
    assert table.index.tolist() == [
        (m, level, "100", a) for m in MAPS for level in schema.LEVELS for a in schema.NAMES.values()
    ]
    table = table.sort_index()
    good, mixed, corridor = (table.loc[m, "good", "100"] for m in MAPS[1:])
    assert good.loc["OMAC"].tolist() == ["72.00 ± 1.00", "0.72 ± 0.01", "12.57 ± 0.47", ""]
    assert good.loc["BC"].tolist() == ["72.00 ± 0.00", "0.72 ± 0.00", "", "10.02"]
    assert good.loc["data"].tolist() == ["70.00", "0.70", "", "17.84"]
    assert good.loc["ICQ"].tolist() == ["not run yet", "not run yet", "11.81 ± 0.12", "11.81"]
    card = read_table(ROOT / "data" / "cards" / f"smax-{MAPS[2]}.csv", index_col="fact")["good"].astype(str)
    shown = [f"{float(card[fact]):.2f}" for fact in ("return mean", "win rate")]
    assert mixed.loc["data"].tolist() == [*shown, "", ""]  # from its card
    assert corridor.loc["BC"].tolist() == ["not run yet", "not run yet", "", "10.81"]


def test_ablations_other_profiles_and_other_simulators_stay_out():
    strange = pd.concat(
        rows(("6h_vs_8z", "good", "omac", [1.0]), **other)
        for other in ({"variant": "maxq"}, {"profile": "quick"}, {"env": "smac"})
    )
    all_rows = pd.concat([SOME, strange[strange.kind != "data"]])
    for make in (
        lambda r: paper_tables.beside(r, "table4"),
        paper_tables.snapshot_scores,
        comparison.compare_algorithms,
    ):
        pd.testing.assert_frame_equal(make(all_rows), make(SOME))
    with pytest.raises(ValueError, match="no final rows of smac at profile laptop; there are smax at laptop$"):
        select.choose(SOME, env="smac")
    with pytest.raises(ValueError, match="two final rows"):
        select.choose(pd.concat([SOME, SOME]))


FAR = rows(  # two data sets with means far apart, OMAC half a point above BC on one and half a point below on the other
    ("6h_vs_8z", "good", "omac", [72.5, 72.7, 72.3, 72.4, 72.6]),
    ("6h_vs_8z", "good", "bc", [72.0, 72.2, 71.8, 71.9, 72.1]),
    ("6h_vs_8z", "poor", "omac", [7.5, 7.7, 7.3, 7.4, 7.6]),
    ("6h_vs_8z", "poor", "bc", [8.0, 8.2, 7.8, 7.9, 8.1]),
    ("6h_vs_8z", "poor", "icq", [9.0, 9.2, 8.8, 8.9, 9.1]),
    ("corridor", "good", "icq", [9.0, 9.0, 9.0, 9.0, 9.0]),
)


def test_the_comparison_pools_gains_over_bc_on_the_data_sets_that_all_three_have():
    table = comparison.compare_algorithms(FAR).set_index("algorithm")
    assert table.index.tolist() == ["data", "BC", "ICQ", "OMAC"]
    assert table["data sets"].tolist() == [2, 2, 1, 2] and table["runs"].tolist() == [2, 10, 5, 10]
    mean, iqm, win = (f"SMAX {x}" for x in ("gain over BC, mean", "gain over BC, IQM", "win rate over BC, mean"))
    assert table.loc["OMAC", mean].startswith("0.00 [-0.1") and table.loc["ICQ", mean].startswith("1.00 [0.7")
    assert table.loc["data", mean] == "30.00" and table.loc["BC", [mean, iqm, win]].tolist() == ["0.00", "", "0.00"]
    assert table.loc["ICQ", iqm].startswith("1.00 [") and table.loc["ICQ", win].startswith("0.01 [0.01, ")
    assert table.loc["ICQ", "OMAC's IQM there"] == "-0.50" and table.loc["OMAC", "P(OMAC better)"] == ""
    assert table.loc["BC", "P(OMAC better)"] == "0.50 [0.24, 0.76]"
    lost = binomtest(0, 5).proportion_ci(method="wilson").high
    assert table.loc["ICQ", "P(OMAC better)"] == f"0.00 [0.00, {lost:.2f}]"
    assert table.loc["data", "P(OMAC better)"] == "0.50 [0.24, 0.76]"  # above on good, below on poor
    with pytest.raises(ValueError, match="no scores of 'cql' in smax at profile laptop; there are bc, data, icq, omac"):
        comparison.compare_algorithms(FAR, "cql")
    with pytest.raises(ValueError, match="no scores of BC, which gains are over; there are data, icq, omac"):
        comparison.compare_algorithms(FAR[FAR.algorithm != "bc"])


def test_the_comparison_does_not_change_when_a_whole_data_set_moves():
    moved = FAR.assign(return_mean=FAR["return_mean"] + 5.0 * ((FAR["level"] == "poor") & (FAR["kind"] != "data")))
    tables = [comparison.compare_algorithms(x[x.kind != "data"]) for x in (FAR, moved)]
    pd.testing.assert_frame_equal(*tables)


def test_profiles_are_of_gains_over_bc_and_drawn_where_every_algorithm_has_every_data_set():
    scores = comparison.runs(select.choose(FAR))
    over = comparison.runs_over_bc(scores)
    assert set(over) == {"omac", "icq", "data"} and set(over["icq"]) == {("6h_vs_8z", "poor", 100)}
    np.testing.assert_allclose(over["omac"]["6h_vs_8z", "poor", 100][0], [-0.5, -0.3, -0.7, -0.6, -0.4])
    assert comparison.shared(over) == (["icq", "omac"], [("6h_vs_8z", "poor", 100)])
    assert select.name_sets([("a", "good", 100), ("a", "poor", 100), ("b", "poor", 50)]) == "a good, poor; b poor"
    alone = {a: x for a, x in over.items() if a != "icq"}
    assert comparison.shared(alone) == (["omac"], [("6h_vs_8z", "good", 100), ("6h_vs_8z", "poor", 100)])
    points, wins = profiles.profiles(over, *comparison.shared(over), "title").axes
    assert [ax.get_xlabel() for ax in (points, wins)] == ["return over BC's mean (points)", "win rate over BC's mean"]
    icq, omac, bc = points.lines
    assert bc.get_xdata() == [0, 0] and points.get_xlim() == (-1, 2)
    assert np.interp(0, *omac.get_data()) == 0 and np.interp(0, *icq.get_data()) == 1


def test_tables_of_the_paper_are_of_the_published_temperatures():
    sharp = rows(("6h_vs_8z", "good", "omac", [1.0, 2.0, 3.0, 4.0, 5.0]))
    policies = [FAR.assign(temperature=np.where(FAR["kind"] == "data", None, "published"))]
    policies.append(sharp[sharp["kind"] != "data"].assign(temperature="beta_15"))
    some = pd.concat(policies)
    for make in (
        lambda r: paper_tables.beside(r, "table4"),
        paper_tables.snapshot_scores,
        comparison.compare_algorithms,
        results.difference,
        lambda r: select.caption(select.choose(r)),
        lambda r: select.prepare(r).drop(columns="temperature", errors="ignore"),
    ):
        one, other = make(some), make(FAR)
        pd.testing.assert_frame_equal(one, other) if isinstance(one, pd.DataFrame) else None
        assert isinstance(one, pd.DataFrame) or one == other
    table = results.final_table(some).set_index(["level", "algorithm", "temperature"])
    assert table.loc[("good", "OMAC", "beta_15"), "return"].startswith("3.00 ±")
    assert table.loc[("good", "OMAC", "published"), "return"].startswith("72.50 ±")
    tuned = paper_tables.beside(some, "table4", chosen={"omac": "beta_15"}).loc["6h_vs_8z", "good", "100", "OMAC"]
    assert tuned["SMAX return, tuned (ours)"].startswith("3.00 ±") and tuned["SMAX return (ours)"].startswith("72.50 ±")
    assert results.at_temperatures(FAR) is FAR  # older rows
    with pytest.raises(ValueError, match="two final rows"):
        results.final_table(pd.concat([some, policies[1]]))


def test_last_mean_of_five_and_best_stand_side_by_side():
    line = paper_tables.snapshot_scores(SOME).loc["6h_vs_8z", "good", 100, "OMAC"]
    assert line.tolist() == ["0.72 ± 0.01", "72.00 ± 1.00", "73.50 ± 1.00", "74.00 ± 1.00"]


def test_a_caption_counts_seeds_and_battles():
    assert select.caption(select.choose(SOME)) == "SMAX: 2-3 seeds, 320 battles a seed, profile laptop"


@pytest.mark.slow
def test_a_figure_is_the_same_bytes_twice_as_png_and_as_svg(tmp_path):
    scores = comparison.runs_over_bc(comparison.runs(select.choose(STUDY)))
    for folder in ("a", "b"):
        figure = profiles.profiles(scores, *comparison.shared(scores), "title")
        path = style.save_both(figure, tmp_path / folder / "profiles.png")
    for name in ("profiles.png", "profiles.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (path.parent / name).read_bytes()
    assert "date" not in (path.parent / "profiles.svg").read_text()


@pytest.mark.parametrize("name", ["table1", "table4"])
def test_the_written_tables_are_those_of_the_committed_results(name):
    table = paper_tables.beside(STUDY, name, chosen=choice.chosen(choice.read_choosing())).reset_index()
    assert results.markdown(table) in (ROOT / "figures" / f"{name}.md").read_text()
