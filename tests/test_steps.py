"""The numbers of steps follow their rules, from the committed curves."""

import pandas as pd
import pytest

from omac.analysis import steps
from omac.config.hyper import load_params


def test_values_have_converged_at_the_first_step_that_moves_them_by_less_than_two_per_cent():
    q_tot = pd.Series([1.0, 2.0, 2.2, 2.24, 2.0], index=[1000, 2000, 3000, 4000, 5000])
    assert steps.converged(q_tot) == 4000  # (2.24 - 2.2) / 2.24 is below 0.02, (2.2 - 2) / 2.2 is not
    assert steps.converged(q_tot.iloc[:3]) is None
    assert steps.converged(-q_tot) == 4000


def test_policy_steps_are_the_largest_near_the_best_mean_likelihood():
    one = pd.DataFrame({"curve": "cloning", "step": [1000, 2000, 3000, 4000]})
    curves = pd.concat(
        [
            one.assign(map="a", level="good", held_log_likelihood=[-1.0, -0.9, -0.895, -0.93]),
            one.assign(map="b", level="good", held_log_likelihood=[-0.5, -0.5, -0.515, -0.5]),
        ]
    )
    assert steps.policy_steps(curves) == 3000  # means -0.75, -0.7, -0.705, -0.715: within 0.01 of the best up to 3000


def test_params_have_the_steps_that_the_rules_give():
    params, found = load_params(), steps.curves()
    assert params["open_points"]["policy_steps"] == steps.policy_steps(found)
    for (name, level), wanted in steps.value_steps(found).items():
        assert params["steps"][name][level] == {"laptop": wanted}, f"{name} {level}"


def test_a_folder_without_curves_says_how_they_are_made(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m omac steps"):
        steps.curves(tmp_path)
