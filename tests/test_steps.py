"""The rules for numbers of steps, by hand, and params.yaml against the committed curves."""

import pandas as pd
import pytest

from omac.analysis import steps
from omac.config.hyper import load_params, settings
from omac.files import write_csv
from omac.paths import ROOT


def values(correlation, map_name="6h_vs_8z", level="poor", apart=0.0, every=1_000):
    """The curve of a data set's values, a point every thousand steps, of two seeds that lie `apart`."""
    about = {"map": map_name, "level": level, "curve": "values", "return_followed": 5.0, "td_error": 1.0}
    return pd.DataFrame(
        [
            {
                **about,
                "seed": k,
                "step": (i + 1) * every,
                "q_tot": i + 1.0,
                "held_q_correlation": c + (k - 0.5) * apart,
                "held_td_error": 2.0,
            }
            for i, c in enumerate(correlation)
            for k in (0, 1)
        ]
    )


def cloning(likelihood, level="poor"):
    about = {"map": "6h_vs_8z", "level": level, "curve": "cloning"}
    return pd.DataFrame(
        [{**about, "step": (i + 1) * 1_000, "held_log_likelihood": x} for i, x in enumerate(likelihood)]
    )


@pytest.mark.parametrize(
    ("correlation", "step", "best"),
    [
        ([0.1, 0.5, 0.7, 0.6], 3_000, 3_000),
        ([0.1, 0.692, 0.7, 0.6], 2_000, 3_000),  # within 0.01
        ([0.1, 0.688, 0.7, 0.65], 3_000, 3_000),
        ([0.695, 0.5, 0.7], 1_000, 3_000),  # the first, whatever lies between
        ([0.3], 1_000, 1_000),
    ],
)
def test_values_have_the_first_step_whose_held_out_correlation_is_within_a_hundredth_of_the_best(
    correlation, step, best
):
    curve = values(correlation, apart=0.2)
    assert steps.best_step(curve) == (step, best)
    assert steps.value_steps(curve) == {("6h_vs_8z", "poor"): step}


def test_a_curve_ends_when_its_best_point_is_four_thousand_steps_behind():
    rising = [0.1, 0.2, 0.5, 0.4, 0.4, 0.45]
    assert not steps.is_past_best(values(rising)) and steps.is_past_best(values([*rising, 0.3]))
    assert not steps.is_past_best(values([*rising, 0.6]))


def test_policy_steps_are_the_largest_near_the_best_mean_likelihood_of_held_out_actions():
    poor, good = cloning([-2.0, -1.0, -0.999, -1.003, -1.1]), cloning([-1.0, -0.5, -0.5, -0.503, -0.4], "good")
    # of the means the third is best, -0.7495; the fourth, -0.753, is near enough, the fifth, -0.75, nearer still
    assert steps.policy_steps(pd.concat([poor, good])) == 5_000
    assert steps.policy_steps(poor) == 4_000 and steps.policy_steps(good) == 5_000
    assert steps.policy_steps(cloning([-1.0, -0.9, -0.92])) == 2_000


def test_the_table_says_where_the_values_are_best_and_the_curves_are_read_from_their_folder(tmp_path):
    write_csv(values([0.1, 0.695, 0.7, 0.6], apart=0.2), tmp_path / "a-values.csv")
    write_csv(values([0.2, 0.4], level="good"), tmp_path / "b-values.csv")
    write_csv(cloning([-2.0, -1.0, -1.5]), tmp_path / "a-cloning.csv")
    found = steps.read_curves(tmp_path)
    assert len(found) == 8 + 4 + 3
    with pytest.raises(FileNotFoundError, match="no curves in .*: run `python -m omac steps values DATASET`"):
        steps.read_curves(tmp_path / "none")
    poor, good = steps.table(found).to_dict("records")
    assert [poor[x] for x in ("steps of the values", "at step", "curve ends at step")] == [2_000, 3_000, 4_000]
    assert poor["held-out TD error over that of the data"] == poor["TD errors there"] == "2.00"
    assert poor["best"] == "0.700" and poor["drift of Q_tot in the last thousand steps"] == "100 %"
    assert poor["cloning's held-out likelihood is highest at step"] == 2_000
    assert good["cloning's held-out likelihood is highest at step"] == "" and good["steps of the values"] == 2_000


def test_params_yamls_steps_are_those_of_the_rules_on_the_committed_curves():
    """And of a data set without a curve, the profile's own."""
    if not any((ROOT / "data" / "steps").glob("*.csv")):
        pytest.skip("no curve has been run")
    params, curves = load_params(), steps.read_curves()
    known = steps.value_steps(curves)
    for map_name, levels in params["steps"].items():
        for level, own in levels.items():
            of_rule = known.get((map_name, level))
            wanted = {"laptop": of_rule, "choosing": of_rule} if of_rule else {}
            assert (own or {}) == wanted, f"steps of {map_name} {level} in params.yaml are not the rule's"
    assert steps.policy_steps(curves) == settings(params, "laptop")[0].policy_steps
