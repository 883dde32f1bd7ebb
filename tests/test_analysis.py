"""What the notebooks on curves and parts show: the verdict on divergence, the credit weights' pairs, the panels of the figures."""

import numpy as np
import pandas as pd
import pytest
import torch

from omac import algorithms
from omac.analysis import credit_weights
from omac.analysis.divergence import GROWTH, LARGEST, stability, why
from omac.analysis.select import prepare
from omac.cli import main
from omac.config.hyper import load_params
from omac.files import read_table, write_csv
from omac.nn.networks import generators
from omac.paths import ROOT
from omac.plots import credit, style
from omac.plots import curves as study_figures
from omac.plots.curves import Panel, absent, crossings, curves, losses
from omac.study import sample_weights
from omac.training.replay import Replay


def cell(algorithm="omac", variant="default", level="medium", seeds=2, **columns):
    """Rows of one cell: three snapshots of each seed; columns {name: values at the snapshots}."""
    return pd.DataFrame(
        {
            **{"env": "smax", "map": "6h_vs_8z", "level": level, "ratio": 100, "profile": "laptop", "kind": "eval"},
            **{"algorithm": algorithm, "variant": variant, "seed": seed, "step": step, "episodes": 32},
            **{"return_mean": 10.0 + seed + i, "L_pi": 1.0, **{name: x[i] for name, x in columns.items()}},
        }
        for seed in range(seeds)
        for i, step in enumerate((1000, 2000, 3000))
    )


STEADY = {"L_Q": [0.5, 0.2, 0.4], "q_tot": [2.0, 5.0, 8.0], "w_v": [1.0, 1.0, 2.0], "norm_q_max": [3.0, 70.0, 5.0]}


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, []),
        ({"L_Q": [0.5, 0.2, 0.5 * GROWTH]}, []),
        ({"L_Q": [0.5, 0.2, 0.5 * GROWTH + 0.1]}, ["L_Q"]),
        ({"L_CQL": [-0.5, -0.2, 0.4]}, []),
        ({"q_tot": [2.0, LARGEST, 8.0]}, []),
        ({"q_tot": [2.0, LARGEST + 0.1, 8.0]}, ["q_tot"]),
        ({"q_tot": [2.0, -LARGEST - 0.1, 8.0]}, ["q_tot"]),
        ({"w_v": [1.0, np.nan, 2.0]}, ["w_v"]),
        ({"norm_q_max": [3.0, np.inf, 5.0], "L_V": [1e-3, 1, 1]}, ["norm_q_max", "L_V"]),
        ({"w_q": [np.nan] * 3}, []),
    ],
)
def test_a_seed_has_diverged_by_the_stated_rule_and_no_other(change, wrong):
    assert why(cell(seeds=1, **{**STEADY, **change})) == wrong


def test_the_table_counts_the_seeds_that_diverged_and_finds_the_largest_numbers():
    bad = cell(**STEADY)
    bad.loc[(bad["seed"] == 1) & (bad["step"] == 3000), ["q_tot", "w_v"]] = [30.0, 9.0]
    table = stability(pd.concat([bad, cell("bc"), cell(variant="wo_cvf", **STEADY)])).set_index("algorithm")
    assert table["diverged?"].to_dict() == {"OMAC": "1 of 2: q_tot", "BC": "no", "OMAC, w/o CVF": "no"}
    assert table.loc["OMAC", ["largest norm", "largest w_v", "largest w_q"]].tolist() == ["70", "9", ""]
    assert table.loc["OMAC", ["loss", "first", "last", "Q_tot"]].tolist() == ["L_Q", "0.5", "0.4", "19"]
    assert table.loc["BC", ["loss", "largest norm", "Q_tot"]].tolist() == ["L_pi", "", ""]


def phases(**policy):
    """Rows of a cell whose values are learned first, and two policies on them."""
    values = cell(**STEADY).assign(kind="value", temperature=None).drop(columns=["L_pi", "return_mean"])
    first, second = (cell(norm_pi_max=[1.0, 2.0, 9.0]).assign(temperature=t) for t in ("published", "beta_15"))
    return pd.concat([values, first, second.assign(**policy)])


def test_values_and_policies_that_are_trained_after_them_are_looked_at_by_themselves():
    """Each has gaps where the other has numbers, and counts its steps anew: neither is a divergence."""
    (line,) = stability(phases()).to_dict("records")
    assert [line[c] for c in ("diverged?", "loss", "first", "last", "Q_tot")] == ["no", "L_Q", "0.5", "0.4", "8"]
    (line,) = stability(phases(L_pi=np.inf)).to_dict("records")
    assert line["diverged?"] == "2 of 2: L_pi"  # of one temperature
    axes = losses(prepare(pd.concat([phases(), cell("bc")])), "title").axes
    assert axes[1].lines[0].get_ydata().tolist() == [2.0, 5.0, 8.0]
    assert axes[2].lines[0].get_ydata().tolist() == [3.0, 70.0, 5.0]  # of the values' steps


def test_the_rule_finds_the_committed_run_whose_values_ran_away_and_leaves_cloning_alone():
    rows = pd.concat([read_table(f) for f in sorted((ROOT / "data" / "real").glob("*.csv"))])
    verdict = stability(rows).set_index("algorithm")["diverged?"]
    assert "q_tot" in verdict["OMAC"] and verdict["BC"] == "no"


@pytest.fixture
def nets(toy, small):
    return algorithms.get("omac").build(toy.spec, small, generators([0, 1]))


def test_the_mean_of_w_q_over_an_agents_own_action_in_plain_loops(nets, toy, small):
    """Eq. 3 by hand, in NumPy, action by action, the other agent's action as in the data."""
    batch = Replay(toy, small).at(torch.arange(0, 60).expand(2, -1))
    w_v, found = sample_weights.credit(nets, batch)
    p = {name: x.double().detach().numpy() for name, x in nets.mix.named_parameters()}
    logits = nets.pi(batch.o).detach().numpy()

    def hidden(name, k, x):
        for layer in (0, 1):
            x = np.maximum(x @ p[f"{name}.layers.{layer}.weight"][k] + p[f"{name}.layers.{layer}.bias"][k, 0], 0)
        return x

    for k, b in ((0, 0), (0, 17), (1, 31), (1, 59)):
        s, a, avail = batch.s[k, b].double().numpy(), batch.a[k, b].numpy(), batch.avail[k, b].numpy()
        h_v = hidden("f_v1", k, s)
        assert np.allclose(w_v[k, b], abs(h_v @ p["f_v2.weight"][k] + p["f_v2.bias"][k, 0]), atol=1e-5)
        for i in range(toy.spec.n):
            by_action = {}
            for own in np.flatnonzero(avail[i]):
                joint = [own if j == i else a[j] for j in range(toy.spec.n)]
                h = np.concatenate([h_v, hidden("f_q1", k, np.concatenate([s, np.eye(3)[joint].ravel()]))])
                by_action[own] = abs(h @ p["f_q2.weight"][k] + p["f_q2.bias"][k, 0])[i]
            greedy = max(by_action, key=lambda own: logits[k, b, i, own])
            expected = {"data": by_action[a[i]], "greedy": by_action[greedy], "uniform": np.mean([*by_action.values()])}
            assert {name: x[k, b, i].item() for name, x in found.items()} == pytest.approx(expected, abs=1e-5)


def test_pairs_are_the_same_every_time_of_agents_with_a_choice_and_one_of_each_transition(nets, toy, small):
    table = sample_weights.pairs(nets, toy, small, [0, 1], 50)
    pd.testing.assert_frame_equal(table, sample_weights.pairs(nets, toy, small, [0, 1], 50))
    first, second = (group.reset_index(drop=True) for _, group in table.groupby("seed"))
    assert len(first) == 50 and (first["agent"] == second["agent"]).all() and set(first["agent"]) == {0, 1}
    alive = toy.avail[toy.rows()[1]].sum(-1) > 1
    some = np.flatnonzero(alive.any(1))
    t = some[np.linspace(0, len(some) - 1, 50).astype(int)]
    assert alive[t, first["agent"]].all() and not alive[t].all()
    w_v, found = sample_weights.credit(nets, Replay(toy, small).at(torch.from_numpy(t).expand(2, -1)))
    for name, x in {"w_v": w_v, **found}.items():
        assert np.array_equal(second[name], x[1, np.arange(50), second["agent"]].detach())


def test_tied_weights_correlate_perfectly_and_scales_of_seeds_do_not_count():
    rng = np.random.default_rng(0)
    w = rng.random(40)
    table = pd.DataFrame({"variant": "default", "agent": np.tile([0, 1], 40), "seed": np.repeat([0, 1], 40)})
    table = table.assign(w_v=np.tile(w, 2), data=np.concatenate([w, 5 * w]), uniform=np.tile(1 - w, 2))
    found = credit_weights.correlations(table).set_index(["a_i", "seed"])
    assert set(found.index.get_level_values("a_i")) == {"data", "uniform"}  # those that are there
    for seed in ("0", "1", "scaled"):
        assert found.loc[("data", seed), ["pearson", "spearman", "agent"]].tolist() == pytest.approx(
            [1, 1, 1], abs=1e-3
        )
        assert found.loc[("uniform", seed), ["pearson", "spearman", "agent"]].tolist() == pytest.approx(
            [-1, -1, -1], abs=1e-3
        )
    assert found.loc[("data", "pooled"), "pearson"] < 0.9
    agents = table.assign(data=table["agent"] + rng.random(80), w_v=table["agent"] + rng.random(80))
    found = credit_weights.correlations(agents).set_index(["a_i", "seed"]).loc[("data", "pooled")]
    assert found["pearson"] > 0.6 and abs(found["agent"]) < 0.4  # agents that differ in both are not coupling


@pytest.mark.slow
def test_weights_of_a_cell_are_sampled_from_its_checkpoint_or_trained_again_and_written_alike(
    toy, tmp_path, monkeypatch, capsys
):
    params = {**load_params(), "profile": "tiny"}
    params["profiles"]["tiny"] = {
        "hidden": 8,
        "cca_hidden": 8,
        "steps": 20,
        "policy_steps": 20,
        "eval_every": 20,
        "seeds": [0, 1],
    }
    monkeypatch.setattr("omac.study.cell.BUILD", tmp_path)
    monkeypatch.setattr(sample_weights, "load", lambda *_: toy)
    monkeypatch.setattr("omac.config.hyper.load_params", lambda: params)
    first = sample_weights.sample("smax-6h_vs_8z-medium-100", "tiny", params)
    kept = sorted((tmp_path / "checkpoints").iterdir())
    assert [f.name for f in kept] == [f"smax-6h_vs_8z-medium-100-omac-{v}-tiny.pt" for v in ("default", "wo_cca")]
    before = [f.stat().st_mtime_ns for f in kept]
    monkeypatch.setattr(credit_weights, "path_of", lambda dataset: tmp_path / f"{dataset}.csv")
    assert main(["weights", "smax-6h_vs_8z-medium-100"]) == 0
    assert [f.stat().st_mtime_ns for f in kept] == before  # not trained again
    assert "1200 pairs of each variant" in capsys.readouterr().out
    kept[0].unlink()
    again = write_csv(
        sample_weights.sample("smax-6h_vs_8z-medium-100", "tiny", params), tmp_path / "again.csv", digits=4
    )
    written = write_csv(first, tmp_path / "first.csv", digits=4)
    assert written.read_bytes() == again.read_bytes() == (tmp_path / "smax-6h_vs_8z-medium-100.csv").read_bytes()
    assert not first["data"].equals(first["greedy"]) and first.groupby("variant")["w_v"].mean().nunique() == 2


DATA = pd.DataFrame({"env": ["smax"], "map": "6h_vs_8z", "level": "medium", "ratio": 100, "algorithm": "data"})
DATA = DATA.assign(variant="", profile="paper", kind="data", return_mean=7.5)
PANELS = [
    Panel("first", "6h_vs_8z", "medium", 100, ["omac", "bc", "icq"]),
    Panel("second", "6h_vs_8z", "poor", 100, ["omac", "bc"]),
]


def study():
    rows = pd.concat([cell(**STEADY), cell("bc"), cell(variant="maxq", **STEADY), DATA])
    return prepare(pd.concat([rows, cell("icq").assign(profile="quick"), cell("icq").assign(env="smac")]))


def test_curves_draw_the_mean_and_the_data_sets_and_say_what_is_not_run_yet():
    rows = study()
    assert set(rows["line"]) == {"omac", "bc", "maxq", "data"}  # no other profile, no other environment
    assert absent(rows, PANELS) == {"first": ["ICQ"], "second": ["OMAC", "BC"]}
    figure = curves(rows, PANELS, 2, "title")
    (first,) = figure.axes  # a column without rows is left out
    omac, bc, data = first.lines
    assert omac.get_xydata().tolist() == [[1, 10.5], [2, 11.5], [3, 12.5]] and data.get_ydata()[0] == 7.5
    band = first.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 10 and band[:, 1].max() == 13  # one standard deviation of two seeds a point apart
    assert first.get_xlabel() == "not yet: ICQ"
    assert figure.legends[0].get_title().get_text() == "title\nnot run yet: second"
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["OMAC", "BC", "data set's mean"]
    assert study_figures.about(rows) == "SMAX, 32 battles a point, 2 seeds"
    assert study_figures.about(DATA) == "not run yet"
    nothing = curves(rows[rows["line"] == "data"], PANELS, 2, "title")
    assert not any(ax.axison for ax in nothing.axes) and "not run yet: first, second" in nothing.get_suptitle()


def test_panels_of_one_map_and_level_share_a_scale_and_others_say_that_they_do_not():
    high = cell(**STEADY).assign(return_mean=lambda x: x["return_mean"] + 5)
    rows = prepare(pd.concat([cell(**STEADY), high.assign(ratio=50), high.assign(level="poor"), DATA]))
    less = [Panel(str(ratio), "6h_vs_8z", "medium", ratio, ["omac"]) for ratio in (100, 50)]
    levels = [Panel(level, "6h_vs_8z", level, 100, ["omac"]) for level in ("medium", "poor")]
    figure = curves(rows, less, 2, "title")
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim() and "own scale" not in figure.get_supylabel()
    assert "own scale" in curves(rows, levels, 2, "title").get_supylabel()


def test_losses_have_a_row_for_each_data_set_and_one_for_its_ablations_and_say_what_was_not_logged():
    axes = np.array(losses(study().drop(columns="norm_q_max"), "title").axes).reshape(2, 4)
    assert [len(ax.lines) for ax in axes[0]] == [1, 1, 0, 1] and "ablations" in axes[1, 0].get_ylabel()
    assert axes[0, 2].texts[0].get_text() == "not logged"
    axes = np.array(losses(study(), "title").axes).reshape(2, 4)
    assert axes[0, 2].lines[0].get_ydata().tolist() == [3, 70, 5]


def test_the_density_plot_has_a_panel_for_each_variant_and_names_the_correlation_of_each_distribution():
    rng = np.random.default_rng(1)
    w = rng.random(60) + 0.5
    table = pd.DataFrame({"variant": np.repeat(["default", "wo_cca"], 60), "seed": np.tile([0, 1], 60)})
    table = table.assign(w_v=np.tile(w, 2), data=np.concatenate([2 * w, rng.random(60)]), greedy=np.tile(-w + 2, 2))
    figure = credit.weights(table, "title")
    titles = [ax.get_title() for ax in figure.axes]
    assert len(titles) == 2 and titles[0] == "OMAC: r = 1.00 ± 0.00" and titles[1].startswith("w/o CCA: r = ")
    assert [ax.texts[0].get_text() for ax in figure.axes] == ["the policy's greedy action: r = -1.00 ± 0.00"] * 2


def test_a_figure_is_written_twice_with_the_same_bytes_and_without_a_date(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "FIGURES", tmp_path)
    written = []
    for name in ("a", "b"):
        figure = curves(study(), PANELS, 2, "title")
        png = style.save_figure(figure, name)
        for x in (x for ax in figure.axes for x in ax.get_position().bounds):
            assert round(x, 6) == pytest.approx(x, abs=1e-12)  # the solver's last digits differ between processes
        written.append((png.read_bytes(), png.with_suffix(".svg").read_bytes()))
    assert written[0] == written[1] and b"<dc:date>" not in written[0][1]


def test_switches_are_held_against_the_returns_of_their_own_rewards_and_say_what_is_not_run_yet():
    grown = {"q_tot": [20.0, 60.0, 90.0], "return_followed": [60.0] * 3, "q_correlation": [0.1, 0.5, 0.9]}
    rows = prepare(pd.concat([cell(**STEADY, return_followed=[4.0] * 3), cell(variant="rtg", **grown)]))
    scores, ratios, correlation, spread = study_figures.switches(rows, ["omac", "rtg", "online"], "title").axes
    assert [len(ax.get_lines()) for ax in (scores, correlation)] == [2, 1] and spread.texts[
        0
    ].get_text() == "not run yet"
    assert [x.get_ydata().tolist() for x in ratios.get_lines()[:2]] == [[0.5, 1.25, 2.0], [1 / 3, 1.0, 1.5]]


def test_crossings_ring_the_step_at_which_the_mean_of_q_tot_meets_the_returns():
    rows = prepare(pd.concat([cell(**{**STEADY, "q_tot": [2.0, 5.0, 8.0]}, return_followed=[4.0] * 3), cell("bc")]))
    figure = crossings(rows, "title")
    (medium,) = figure.axes
    line, ring, one = medium.get_lines()
    assert line.get_ydata().tolist() == [0.5, 1.25, 2.0] and one.get_ydata()[0] == 1
    assert ring.get_xydata().tolist() == [[2, 1.25]]
    assert figure.legends[0].get_title().get_text() == "title\nnot run yet: good, poor"
