"""The temperature axis in tables, and the rule that chooses one setting."""

import itertools

import numpy as np
import pandas as pd
import pytest

from omac.analysis import choice, tuning


def row(name, level, algorithm, temperature, seed, score, mean=1.0, std=0.0, share=1.0):
    about = {"map": name, "level": level, "ratio": 100, "algorithm": algorithm, "variant": "default", "kind": "final"}
    weights = {"weight_mean": mean, "weight_std": std, "weight_share": share}
    return {**about, "temperature": temperature, "seed": seed, "return_mean": score, "win_rate": score / 20, **weights}


def made_up(scores):
    """Rows of OMAC's settings {temperature: gain over BC by seed} on all data sets of the choice; BC returns 10."""
    rows = []
    for name, level in choice.CHOSEN_ON:
        rows += [row(name, level, "bc", "published", seed, 10.0) for seed in (100, 101, 102)]
        for temperature, gains in scores.items():
            rows += [row(name, level, "omac", temperature, 100 + i, 10.0 + g) for i, g in enumerate(gains)]
    return pd.DataFrame(rows)


def test_a_policys_line_has_the_spread_of_its_weights_and_cloning_has_none():
    rows = pd.DataFrame(
        [row("m", "poor", "omac", "beta_5", seed, 10 + seed, mean=2.0, std=1.0, share=0.8) for seed in (0, 2)]
        + [
            {
                **row("m", "poor", "bc", "published", 0, 9.0),
                "weight_mean": np.nan,
                "weight_std": np.nan,
                "weight_share": np.nan,
            }
        ]
    )
    found = tuning.by_temperature(rows).set_index("algorithm")
    assert found.loc["omac", ["return", "std", "spread", "share", "seeds"]].tolist() == [11.0, 1.0, 0.5, 0.8, 2]
    assert found.loc["bc", ["return", "spread", "share"]].tolist() == [9.0, 0.0, 1.0]
    assert "OMAC, beta 5" in tuning.table(rows)["setting"].tolist()


def test_the_best_mean_gain_is_chosen_and_of_those_within_its_standard_error_the_first():
    scores = {"published": [0, 0, 0], "beta_5": [1.9, 2.0, 2.1], "beta_15": [1.0, 2.0, 3.2], "beta_40": [-1, 0, 1]}
    # beta_15 is best, 2.07; its standard error sqrt(3 * 1.213 / 3) / 3 = 0.37 reaches down to beta_5, which stands first
    assert choice.choose_setting(choice.gains(made_up(scores), "omac")) == ("default", "beta_5")
    scores["beta_5"] = [1.4, 1.5, 1.6]
    assert choice.choose_setting(choice.gains(made_up(scores), "omac")) == ("default", "beta_15")


def test_there_is_no_choice_without_all_data_sets_seeds_and_at_most_six_settings():
    scores = {"published": [0, 0, 0], "beta_5": [1, 1, 1]}
    rows = made_up(scores)
    with pytest.raises(ValueError, match="no choice yet: 3s5z_vs_3s6z medium not run"):
        choice.choose_setting(choice.gains(rows[rows["map"] != "3s5z_vs_3s6z"], "omac"))
    gap = rows[(rows["seed"] != 102) | (rows["temperature"] != "beta_5") | (rows["map"] != "3s5z_vs_3s6z")]
    with pytest.raises(ValueError, match="same settings and seeds"):
        choice.choose_setting(choice.gains(gap, "omac"))
    seven = made_up({f"beta_{i}": [0, 0, 0] for i in range(7)})
    with pytest.raises(ValueError, match="7 settings; 6 is the most"):
        choice.choose_setting(choice.gains(seven, "omac"))


def test_the_expected_best_of_k_settings_is_the_mean_over_all_draws_of_k():
    returns = {"published": 4.0, "beta_5": 10.0, "beta_15": 7.0}
    rows = pd.DataFrame(
        [
            {**row("m", "poor", "omac", t, seed, x + 10 * seed), "episodes": 320}
            for t, x in returns.items()
            for seed in (0, 1)
        ]
        + [{**row("m", "poor", "bc", "published", 0, 9.0), "episodes": 320}]  # one setting: nothing to choose
    )
    found = choice.battles_spent(rows)
    assert found["battles"].tolist() == [640, 1280, 1920] and set(found["algorithm"]) == {"omac"}
    for k, x in enumerate(found["return"], start=1):
        draws = list(itertools.product([9.0, 15.0, 12.0], repeat=k))
        assert x == pytest.approx(sum(map(max, draws)) / len(draws))


def test_separation_is_the_best_setting_less_the_best_control():
    rows = pd.DataFrame(
        [
            row("m", "poor", a, t, 0, s)
            for a, t, s in [("random", "published", 3), ("clock", "published", 2), ("omac", "beta_5", 12)]
        ]
    )
    line = tuning.separation(rows).iloc[0]
    assert line["floor"] == "3.00" and line["best setting"] == "OMAC, beta 5" and line["ceiling − floor"] == "9.00"
    alone = pd.concat([rows, pd.DataFrame([row("m", "poor", "bc", "published", k, 5.0) for k in range(3)])])
    assert tuning.separation(alone).iloc[0]["pairs told apart"] == ""  # one algorithm at its published setting: no pair


def test_separation_counts_the_pairs_of_algorithms_that_differ_seed_by_seed():
    scores = {
        "random": [1, 1, 1],
        "bc": [5, 9, 13],
        "icq": [5.1, 9.0, 12.9],
        "omac": [7.1, 11.0, 14.9],
        "cql": [0, 9, 14],
    }
    rows = pd.DataFrame(
        [row("m", "poor", a, "published", k, x) for a, of in scores.items() for k, x in enumerate(of)]
        + [row("m", "poor", "bc", "other", k, 100.0 + k) for k in range(3)]  # another setting is not compared
    )
    # of six pairs: OMAC above BC and above ICQ by 2 on every seed
    assert tuning.separation(rows).iloc[0]["pairs told apart"] == "2 of 6"


def test_every_algorithm_whose_data_sets_are_all_there_has_a_chosen_temperature():
    rows = made_up({"published": [0, 0, 0], "beta_5": [1.0, 1.1, 1.2]})
    assert choice.chosen(rows) == {"bc": "published", "omac": "beta_5"} and choice.chosen(None) == {}
    more = pd.concat([rows, rows[(rows["algorithm"] == "omac") & (rows["level"] == "poor")].assign(algorithm="icq")])
    assert choice.chosen(more) == {"bc": "published", "omac": "beta_5"}
