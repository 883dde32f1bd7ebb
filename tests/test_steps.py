"""The rules for numbers of steps, by hand, and params.yaml against the committed curves."""

import pandas as pd
import pytest

from omac.analysis import steps
from omac.config.hyper import load_params, settings
from omac.files import write_csv
from omac.paths import ROOT


def values(q_tot, map_name="6h_vs_8z", level="poor", every=1_000):
    """The curve of a data set's values, a point every thousand steps."""
    about = {"map": map_name, "level": level, "curve": "values", "return_followed": 5.0}
    return pd.DataFrame([{**about, "step": (i + 1) * every, "q_tot": q} for i, q in enumerate(q_tot)])


def cloning(likelihood, level="poor"):
    about = {"map": "6h_vs_8z", "level": level, "curve": "cloning"}
    return pd.DataFrame(
        [{**about, "step": (i + 1) * 1_000, "held_log_likelihood": x} for i, x in enumerate(likelihood)]
    )


@pytest.mark.parametrize(
    ("q_tot", "step"),
    [
        ([2.0, 4.0, 5.0, 5.05, 9.0], 4_000),  # by 1 %: what comes later does not count
        ([2.0, 4.0, 3.95], 3_000),  # downwards, too
        ([-4.0, -3.0, -2.95], 3_000),
        ([1.0, 2.0, 3.0], None),
        ([5.0], None),
    ],
)
def test_values_have_converged_at_the_first_step_that_moves_them_by_less_than_2_percent(q_tot, step):
    curve = values(q_tot)
    assert steps.converged(curve.set_index("step")["q_tot"]) == step
    assert steps.value_steps(curve) == {("6h_vs_8z", "poor"): step or steps.VALUE_STEPS}


def test_policy_steps_are_the_largest_near_the_best_mean_likelihood_of_held_out_actions():
    poor, good = cloning([-2.0, -1.0, -0.999, -1.003, -1.1]), cloning([-1.0, -0.5, -0.5, -0.503, -0.4], "good")
    # of the means the third is best, -0.7495; the fourth, -0.753, is near enough, the fifth, -0.75, nearer still
    assert steps.policy_steps(pd.concat([poor, good])) == 5_000
    assert steps.policy_steps(poor) == 4_000 and steps.policy_steps(good) == 5_000
    assert steps.policy_steps(cloning([-1.0, -0.9, -0.92])) == 2_000


def test_the_table_says_what_is_not_converged_and_the_curves_are_read_from_their_folder(tmp_path):
    write_csv(values([2.0, 6.0, 6.01]), tmp_path / "a-values.csv")
    write_csv(values([2.0, 4.0], level="good"), tmp_path / "b-values.csv")
    write_csv(cloning([-2.0, -1.0, -1.5]), tmp_path / "a-cloning.csv")
    found = steps.read_curves(tmp_path)
    assert len(found) == 3 + 2 + 3
    with pytest.raises(FileNotFoundError, match="no curves in .*: run `python -m omac steps values DATASET`"):
        steps.read_curves(tmp_path / "none")
    done = steps.table(found[found["level"] == "poor"]).iloc[0]
    assert done["Q_tot meets it at step"] == 2_000 and done["Q_tot converged at step"] == 3_000
    assert done["cloning's held-out likelihood is highest at step"] == 2_000
    # 20,000 steps that never come to rest
    restless = values([2.0**i for i in range(20)], level="medium")
    assert steps.table(pd.concat([restless, cloning([-1.0])])).iloc[0]["Q_tot converged at step"] == "not by 20000"


def test_params_yamls_steps_are_those_of_the_rules_on_the_committed_curves():
    """And of a data set without a curve, the profile's own."""
    if not any((ROOT / "data" / "steps").glob("*.csv")):
        pytest.skip("no curve has been run")
    params, curves = load_params(), steps.read_curves()
    known = steps.value_steps(curves)
    for map_name, levels in params["steps"].items():
        for level, own in levels.items():
            wanted = {"laptop": known[map_name, level]} if (map_name, level) in known else {}
            assert (own or {}) == wanted, f"steps of {map_name} {level} in params.yaml are not the rule's"
    assert steps.policy_steps(curves) == settings(params, "laptop")[0].policy_steps
