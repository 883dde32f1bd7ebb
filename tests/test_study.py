"""A cell from file to rows, the tables made of rows, and the command line."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from omac import files, schema
from omac.analysis import results
from omac.cli import main
from omac.config.hyper import load_params
from omac.data.episodes import Episodes
from omac.datasets import digest, registry
from omac.evaluation import battle_seeds, evaluate
from omac.files import read_rows, read_table, write_csv
from omac.paths import ROOT
from omac.schema import SCORES
from omac.study import cell as study
from omac.study import prepare
from omac.training import trainer
from omac.training.trainer import Diverged

pytestmark = pytest.mark.slow

COLUMNS = [
    "env",
    "map",
    "level",
    "ratio",
    "algorithm",
    "variant",
    "profile",
    "temperature",
    "seed",
    "step",
    "kind",
    "episodes",
    "return_mean",
    "return_std",
    "win_rate",
    "length",
]

ROW = {"env": "smax", "map": "m", "level": "l", "ratio": 100, "variant": "default", "temperature": "published"}
ROW |= {"episodes": 320, "step": 6}
TEMPERATURES = ["published", "beta_5", "beta_15", "beta_40", "std_1", "std_2"]  # of OMAC


@pytest.fixture
def cell(toy, tmp_path, monkeypatch):
    """Run a smoke cell on the toy data from a data folder of its own."""
    monkeypatch.setattr(study, "BUILD", tmp_path / "build")
    toy.select(range(200)).save(tmp_path / "episodes" / "toy-line-random-100.h5")
    toy.select(range(200, 300), sample_of=300).save(tmp_path / "episodes" / "toy-line-random-held.h5")
    return lambda **k: study.run_cell(
        "toy-line-random-100", k.pop("algorithm", "omac"), profile="smoke", folder=tmp_path, progress=False, **k
    )


def test_a_cell_gives_rows_of_its_values_and_of_each_policy_final_ones_and_the_data_sets_own(cell, tmp_path, toy):
    """A row per seed and snapshot of the values; per seed, temperature and snapshot of the policies."""
    rows, trained, _ = cell(out=tmp_path / "a.csv")
    written = read_table(tmp_path / "a.csv")
    value, evaluated, final, own = (written[written.kind == kind] for kind in ("value", "eval", "final", "data"))
    assert list(written.columns[:16]) == COLUMNS and len(written) == len(rows)
    assert written.groupby("kind").size().to_dict() == {"value": 4, "eval": 24, "final": 12, "data": 1}
    assert set(written.env) == {"toy"} and set(value.step) == set(evaluated.step) == {100, 200}
    assert trained.temperatures == TEMPERATURES == final.temperature.tolist()[:6] == final.temperature.tolist()[6:]
    assert evaluated.groupby(["seed", "temperature", "step"]).size().eq(1).all() and value.temperature.isna().all()
    assert final.episodes.eq(8).all() and evaluated.episodes.eq(4).all()
    for name in ("q_tot", "return_followed", "L_V", "L_Q", "norm_q", "adv_std"):
        assert value[name].notna().all() and final[name].notna().all() and evaluated[name].isna().all(), name
    for name in ("weight_std", "weight_share", "weight_clipped", "L_pi", "entropy", "norm_pi", "discounted_mean"):
        assert evaluated[name].notna().all() and final[name].notna().all() and value[name].isna().all(), name
    assert abs(own.return_mean.item() - toy.returns[:200].mean()) < 1e-4
    assert set(evaluated.simulator) == set(final.simulator) == {"toy"} and value.simulator.isna().all()


def test_each_row_is_scored_by_its_own_policy_in_the_battles_of_its_seed(cell):
    """Policy p of seed k is k P + p of a snapshot; the last ones of a seed fight the same battles, whatever trained them."""
    rows, trained, _ = cell(temperatures=["published", "beta_40"])
    final = rows[rows.kind == "final"]
    assert final[["seed", "temperature"]].to_numpy().tolist() == [[k, t] for k in (0, 1) for t in trained.temperatures]
    for place, (_, row) in enumerate(final.iterrows()):
        state = {name: x[place : place + 1] for name, x in trained.snapshots[-1]["policy"].items()}
        battles = study.final_battles(int(row.seed), 8)[None]
        alone = evaluate("toy:line", trained.policy, [state], battles, gamma=0.99)
        assert row.return_mean == pytest.approx(alone.returns.mean(), abs=1e-9)
        assert row.discounted_mean == pytest.approx(alone.discounted.mean(), abs=1e-9)
        assert row.win_rate == alone.win.mean() and row.length == alone.length.mean()


def test_every_cell_reports_what_is_known_offline_of_held_out_episodes(cell, toy):
    """The held_* columns are the algorithm's own numbers on the held-out file, computed here anew from its networks."""
    import torch

    for algorithm in ("omac", "bc"):
        rows, trained, data = cell(algorithm=algorithm)
        last = rows[(rows.kind == "final") & (rows.seed == 1)].set_index("temperature").loc["published"]
        count = len(trained.temperatures)
        unseen = toy.select(range(200, 300))
        o, a, avail = (torch.from_numpy(x[unseen.rows()[1]]) for x in (unseen.obs, unseen.avail, unseen.avail))
        a = torch.from_numpy(unseen.action.astype(np.int64))
        of_policies = trained.nets.pi(o.expand(2 * count, *o.shape))
        log_p = of_policies[1 * count + 0].masked_fill(~avail, -1e9).log_softmax(-1)
        taken = log_p.gather(-1, a[..., None])[..., 0]
        assert count == (6 if algorithm == "omac" else 1)
        assert results.short(results.offline(rows))["log-likelihood"].str.startswith("-").all()
        assert last.held_log_likelihood == pytest.approx(taken.mean().item(), abs=1e-5)
        assert last.held_agreement == pytest.approx((log_p.argmax(-1) == a).float().mean().item(), abs=1e-6)
        if algorithm == "omac":
            q, ret = trained.held["q_tot"][1], unseen.to_go(0.99)
            assert last.held_q_correlation == pytest.approx(np.corrcoef(q, ret)[0, 1], abs=1e-5)
            assert last.held_return_followed == pytest.approx(ret.mean(), rel=1e-5) and last.held_td_error > 0
            assert last.held_q_correlation != pytest.approx(last.q_correlation, abs=1e-6)  # not the training data again


@pytest.mark.parametrize("algorithm", ["icq", "omar", "bcq", "cql"])
def test_a_cell_of_each_baseline_has_scores_held_out_numbers_and_figures(cell, algorithm):
    from omac.plots import cell as plots_cell

    rows, trained, data = cell(algorithm=algorithm)
    fought, last = rows[rows.kind.isin(["eval", "final"])], rows[rows.kind == "final"]
    learned = rows[rows.kind == ("value" if algorithm == "icq" else "eval")]  # where the values were looked at
    assert len(learned) == 4 and trained.temperatures[0] == "published"
    assert len(trained.temperatures) == (4 if algorithm == "icq" else 1) == len(last) / 2
    for name in ("return_mean", "discounted_mean", "held_log_likelihood", "entropy"):
        assert fought[name].notna().all(), name
    for name in ("q_tot", "td_error", "held_td_error", "w_q", "L_Q", "norm_q"):
        assert learned[name].notna().all() and last[name].notna().all(), name
    assert (learned.norm_q_max >= learned.norm_q).all() and (learned.norm_q_max > learned.norm_q).any()
    line = results.crossing(rows).iloc[0]
    assert line["algorithm"] == schema.NAMES[algorithm]
    assert (line["std of exp(beta A)"] == "") == ("weight_std" not in rows)  # only ICQ weighs
    plots_cell.value_curves(learned, trained.probe, "title")
    plots_cell.score_curves(rows, "title")


def test_the_table_of_weights_has_every_cell_that_weighs_the_most_spread_first(cell):
    cells = (("omac", "default"), ("icq", "default"), ("bc", "default"), ("omac", "maxq"))
    rows = pd.concat([cell(algorithm=a, variant=v)[0] for a, v in cells])
    table = results.weighing(results.at_temperatures(rows))
    assert sorted(table.algorithm) == ["ICQ", "OMAC", "OMAC, CVF-maxQ"]
    whole = results.weighing(rows)
    assert len(whole) == 4 + 6 + 6
    for found in (table, whole):
        spread = found["std of the weights"].str.split(" ").str[0].astype(float)
        assert spread.is_monotonic_decreasing
    icq = rows[(rows.algorithm == "icq") & (rows.kind == "final") & (rows.temperature == "published")].weight_std
    assert table.set_index("algorithm").loc["ICQ", "std of the weights"] == f"{icq.mean():.2f} ± {icq.std(ddof=0):.2f}"


def test_ablations_stay_out_of_the_tables_of_the_default_variant(cell):
    rows = pd.concat(
        [cell(algorithm=a, variant=v)[0] for a, v in (("omac", "default"), ("bc", "default"), ("omac", "maxq"))]
    )
    ours = rows[rows.variant != "maxq"]
    pd.testing.assert_frame_equal(results.crossing(rows), results.crossing(ours))
    pd.testing.assert_frame_equal(results.difference(rows), results.difference(ours))
    assert len(results.difference(rows)) == len(results.crossing(rows)) == 1
    assert rows[(rows.variant == "maxq") & (rows.kind == "final")].igm_violation.eq(0).all()  # Property 1 is exact


def test_without_its_simulator_a_cell_reports_offline_and_claims_no_battles(cell, monkeypatch, tmp_path):
    monkeypatch.setattr(study, "missing", lambda env: "StarCraft II is not installed")
    monkeypatch.setattr(study, "evaluate", None)
    rows, _, _ = cell(out=tmp_path / "a.csv")
    written = read_table(tmp_path / "a.csv", keep_default_na=False, na_values=[""])
    fought = written[written.kind.isin(["eval", "final"])]
    assert fought.episodes.eq(0).all() and fought.return_mean.isna().all() and fought.held_log_likelihood.notna().all()
    assert written[written.kind.isin(["value", "final"])].held_q_correlation.notna().all()
    assert set(fought.simulator) == {"none"} and len(fought) == 24 + 12
    assert results.final_table(written)["return"].tolist()[1] == "not fought"


def test_data_of_an_environment_without_a_simulator_are_checked_shown_and_learned_from(
    toy, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(study, "BUILD", tmp_path / "build")
    for env, map_name in (("mpe", "simple_spread"), ("smax", "3m")):
        other = replace(toy, about={**toy.about, "env": env, "map": map_name})
        name = f"own-{map_name}-random"
        file = tmp_path / "episodes" / f"{name}-100.h5"
        other.select(range(200)).save(file)
        other.select(range(200, 300), sample_of=300).save(tmp_path / "episodes" / f"{name}-held.h5")
        assert main(["check", str(file)]) == main(["card", str(file)]) == 0
        assert f"no simulator is known for {env}:{map_name}" in capsys.readouterr().out
        rows = study.run_cell(
            f"{name}-100", "bc", profile="smoke", folder=tmp_path, progress=False, out=tmp_path / f"{env}.csv"
        )[0]
        final = rows[rows.kind == "final"]
        assert set(final.simulator) == {"none"} and final.held_log_likelihood.notna().all()
        assert len(read_rows(tmp_path / f"{env}.csv")) == len(rows)


def test_two_runs_of_one_cell_write_identical_bytes_and_resume_for_free(cell, tmp_path):
    cell(out=tmp_path / "a.csv")
    step, trainer.Trainer.step = trainer.Trainer.step, None  # the finished checkpoint needs no step
    try:
        cell(out=tmp_path / "b.csv")
    finally:
        trainer.Trainer.step = step
    for f in (tmp_path / "build" / "checkpoints").iterdir():
        f.unlink()
    cell(out=tmp_path / "c.csv")  # trains again
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes() == (tmp_path / "c.csv").read_bytes()


def test_a_cell_that_diverges_writes_no_result(cell, tmp_path, monkeypatch):
    from omac.algorithms import omac

    loss = omac.policy_loss
    monkeypatch.setattr(omac, "policy_loss", lambda *given: loss(*given) * np.nan)
    with pytest.raises(Diverged, match="seed 0, published, step 0: L_pi is nan"):
        cell(out=tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_data_that_the_simulator_does_not_fit_is_refused_before_the_first_step(cell, tmp_path, toy, monkeypatch):
    from dataclasses import replace

    about = {**toy.about, "sizes": [2, 12, 11, 3]}
    replace(toy, obs=np.concatenate([toy.obs, toy.obs], -1), about=about).save(
        tmp_path / "episodes" / "toy-line-random-100.h5"
    )
    monkeypatch.setattr(study, "train", None)
    with pytest.raises(ValueError, match=r"is of Spec\(.*obs=12.* the simulator is Spec\(.*obs=6"):
        cell()


def test_missing_data_unknown_algorithms_and_bad_names_are_named(cell, tmp_path):
    with pytest.raises(ValueError, match="unknown algorithm 'omax'; there are omac, bc"):
        cell(algorithm="omax")
    with pytest.raises(ValueError, match="is not <source>-<map>-<level>-<ratio>"):
        study.run_cell("smax-6h_vs_8z", "omac")
    with pytest.raises(ValueError, match="not sampled yet"):
        study.run_cell("smax-6h_vs_8z-medium-100", "omac", folder=tmp_path)
    with pytest.raises(ValueError, match="ratio is 30 %"):
        registry.draw_sample("smax-6h_vs_8z-medium-30")


def test_a_ratio_is_nested_in_the_whole_sample_and_its_parent_is_named(toy, tmp_path):
    raw = registry.DataSet.parse("toy-line-random-100").raw_path(tmp_path)
    toy.save(raw)
    parent = digest.of(toy).sha256
    params = {**load_params(), "data": {"sample_episodes": 200, "held_out_episodes": 30, "seed": 0}}
    ids = {}
    for ratio in (100, 50, 10):
        data = Episodes.load(registry.draw_sample(f"toy-line-random-{ratio}", params, tmp_path)[0])
        ids[ratio] = data.id.tolist()
        assert data.about["parent"] == parent and len(data) == 2 * ratio
    assert ids[10] == ids[50][:20] == ids[100][:20]
    held = Episodes.load(registry.draw_sample("toy-line-random-held", params, tmp_path)[0])
    assert len(held) == 30 and not set(held.id.tolist()) & set(ids[100])
    params["data"]["held_out_episodes"] = 101
    with pytest.raises(ValueError, match="cannot sample 101 of 300 episodes after the first 200"):
        registry.draw_sample("toy-line-random-held", params, tmp_path)


def test_all_snapshots_seeds_and_temperatures_in_one_call_score_as_each_one_alone(cell):
    _, trained, _ = cell(temperatures=["published", "beta_40"])
    states, net = [s["policy"] for s in trained.snapshots], trained.policy
    seeds = battle_seeds(5, shape=(8, 12))
    together = evaluate("toy:line", net, states, seeds)
    for p in range(8):
        one = {k: x[p % 4 : p % 4 + 1] for k, x in states[p // 4].items()}
        alone = evaluate("toy:line", net, [one], seeds[p : p + 1])
        for a, b in zip(together[:4], alone[:4], strict=True):
            np.testing.assert_array_equal(a[p], b[0])


def test_more_policies_than_battles_side_by_side_fight_a_few_after_another(cell, monkeypatch):
    from omac import evaluation

    _, trained, _ = cell(temperatures=["published", "beta_40"])
    states, seeds = [s["policy"] for s in trained.snapshots], battle_seeds(5, shape=(8, 12))
    together = evaluate("toy:line", trained.policy, states, seeds)
    monkeypatch.setattr(evaluation, "_most", lambda env: 3)
    for a, b in zip(together, evaluate("toy:line", trained.policy, states, seeds), strict=True):
        np.testing.assert_array_equal(a, b)


def test_results_are_gathered_in_order_with_each_data_row_once(cell, tmp_path):
    for name in ("omac", "bc"):
        cell(algorithm=name, out=tmp_path / "cells" / f"toy-line-random-100-{name}.csv")
    (tmp_path / "cells" / "stale.csv").write_text("left,over\n1,2\n")
    names = [f"toy-line-random-100-{a}.csv" for a in ("omac", "bc", "icq")]
    out, absent = results.gather(tmp_path / "cells", tmp_path / "results.csv", names)
    rows = read_table(out)
    assert absent == ["toy-line-random-100-icq.csv"] and "left" not in rows
    assert (rows.kind == "data").sum() == 1 and set(rows.algorithm) == {"omac", "bc", "data"}
    (tmp_path / "cells" / f"{names[1][:-4]}.csv").rename(tmp_path / "cells" / names[2])
    with pytest.raises(
        ValueError, match="icq.csv, line 2: a row of line-random-100-bc under the name of line-random-100-icq"
    ):
        results.gather(tmp_path / "cells", tmp_path / "results.csv", names)
    with pytest.raises(FileNotFoundError, match="make repro"):
        results.gather(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("old", "new"), [(",final,", ",fimal,"), (",medium,", ",medjum,"), (",laptop,", ",lbptop,"), (",320,", ",321,")]
)
def test_a_changed_byte_of_a_cells_rows_is_named_when_results_are_gathered(old, new, tmp_path, capsys, monkeypatch):
    """Whether or not it could be: a digit is found by the sha256, and what is sealed anew by what rows may say."""
    name = "smax-6h_vs_8z-medium-100-bc.csv"
    whole = (ROOT / "data" / "results" / name).read_bytes()
    assert old.encode() in whole
    changed = whole.replace(old.encode(), new.encode(), 1)
    (tmp_path / name).write_bytes(whole)
    assert results.gather(tmp_path, tmp_path / "results.csv", [name])[1] == []
    sealed_anew = files.seal(changed.rpartition(files.MARK)[0])
    for content in (changed, *([sealed_anew] if old[1].isalpha() else [])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name) as e:
            results.gather(tmp_path, tmp_path / "results.csv", [name])
        assert "\n" not in str(e.value)


def test_a_renamed_data_set_is_refused(cell, tmp_path, toy):
    toy.save(tmp_path / "episodes" / "toy-corridor-good-100.h5")
    with pytest.raises(ValueError, match="holds line random, its name says corridor good"):
        study.run_cell("toy-corridor-good-100", "omac", profile="smoke", folder=tmp_path, progress=False)


def test_ensure_makes_a_data_set_again_when_params_change(toy, tmp_path, monkeypatch):
    made = []

    def pull(source, map_name, level, episodes, seed, folder):
        made.append((episodes, seed))
        raw, data = registry.DataSet(source, map_name, level), toy.select(np.arange(episodes), seed=seed)
        data.save(raw.raw_path(folder))
        registry.identify(data, raw.raw, folder, made=True)

    monkeypatch.setattr(prepare, "pull", pull)

    def ensured(**data):
        return Episodes.load(
            prepare.ensure(
                "smax-line-random-50",
                {"data": {"pull_episodes": 40, "sample_episodes": 20, "held_out_episodes": 5, "seed": 0, **data}},
                tmp_path,
            )
        )

    first = ensured()
    assert ensured().id.tolist() == first.id.tolist() and made == [(40, 0)] and len(first) == 10
    assert len(ensured(sample_episodes=30)) == 15 and made == [(40, 0)]
    ensured(seed=1)
    ensured(seed=1, pull_episodes=50)
    assert made == [(40, 0), (40, 1), (50, 1)]


@pytest.mark.parametrize("variant", ["default", "joint"])
def test_a_sequential_cell_reports_its_values_before_its_policies(variant, cell):
    rows, _, _ = cell(variant=variant, temperatures=["published"])
    value, policy = rows[rows.kind == "value"], rows[rows.kind == "eval"]
    assert policy.step.tolist() == [100, 100, 200, 200] and policy.L_pi.notna().all()
    if variant == "joint":
        assert len(value) == 0 and policy[["L_Q", "q_tot"]].notna().all().all()
        return
    assert value.step.tolist() == policy.step.tolist() and rows.kind.tolist()[:8] == ["value"] * 4 + ["eval"] * 4
    assert value[["L_Q", "q_tot"]].notna().all().all() and value.L_pi.isna().all() and policy.L_Q.isna().all()


@pytest.mark.parametrize(
    ("algorithm", "wanted", "words"),
    [
        ("omac", ["beta_50"], "unknown temperature of omac 'beta_50'.*did you mean beta_5"),
        ("bc", ["beta_5"], "unknown temperature of bc 'beta_5'; there is published"),
    ],
)
def test_a_temperature_that_the_algorithm_does_not_have_is_named(algorithm, wanted, words, cell):
    with pytest.raises(ValueError, match=words):
        cell(algorithm=algorithm, temperatures=wanted)


def test_the_difference_is_paired_by_seed():
    base = {"map": "m", "level": "l", "ratio": 100, "profile": "laptop", "kind": "final"}
    scores = (("omac", 0, 5.0), ("omac", 1, 9.0), ("bc", 1, 7.0), ("bc", 0, 6.0))
    rows = pd.DataFrame([{**base, "algorithm": a, "seed": s, "return_mean": r} for a, s, r in scores])
    tenth = rows.assign(ratio=10, return_mean=rows["return_mean"] + (rows["algorithm"] == "omac"))
    table = results.difference(pd.concat([rows, tenth])).set_index("ratio")  # a subset is a data set of its own
    whole, fewer = table.loc[100], table.loc[10]
    assert whole["OMAC minus BC"] == "0.50 ± 1.50" and whole["seeds ahead"] == "1 of 2"
    assert fewer["OMAC minus BC"] == "1.50 ± 1.50"


def test_the_crossing_is_the_step_at_which_q_tot_reaches_the_returns():
    base = {
        "map": "m",
        "level": "l",
        "ratio": 100,
        "algorithm": "omac",
        "profile": "laptop",
        "kind": "eval",
        "return_followed": 5.0,
        "q_correlation": 0.5,
        "w_q": 1.0,
    }
    rows = pd.DataFrame(
        [
            {**base, "seed": s, "step": t, "q_tot": t / 100 + s, "weight_std": 0.1}
            for s in (0, 2)
            for t in (100, 300, 500)
        ]
    )
    line = results.crossing(rows).iloc[0]
    assert (
        line["Q_tot crosses it at step"] == 500
        and line["Q_tot at the end"] == "6.00 at 500"
        and line["return-to-go in the data"] == "5.00"
    )
    assert results.crossing(rows[rows.step < 500]).iloc[0]["Q_tot crosses it at step"] == "never"


def test_the_crossing_is_of_the_values_however_many_policies_are_trained_on_them():
    base = {"map": "m", "level": "l", "ratio": 100, "algorithm": "omac", "profile": "laptop", "seed": 0}
    values = [
        {**base, "kind": "value", "step": t, "q_tot": t / 100, "return_followed": 3.0, "q_correlation": 0.5, "w_q": 1.0}
        for t in (200, 400, 600)
    ]
    policies = [
        {**base, "kind": "eval", "step": t, "temperature": name, "weight_std": w * t}
        for t in (100, 200)
        for name, w in (("published", 0.001), ("beta_15", 1.0))
    ]
    (line,) = results.crossing(pd.DataFrame(values + policies)).to_dict("records")
    assert (line["Q_tot crosses it at step"], line["Q_tot at the end"]) == (400, "6.00 at 600")
    assert line["std of exp(beta A)"] == "0.20"  # of the published policy, at its own last step
    cloning = pd.DataFrame(policies).assign(algorithm="bc", q_tot=np.nan)
    assert results.crossing(cloning).empty


def test_two_runs_in_one_file_or_a_foreign_file_are_refused():
    base = {**ROW, "algorithm": "omac", "kind": "final", "seed": 0, "return_mean": 1.0, "win_rate": 0.0}
    with pytest.raises(ValueError, match="two final rows"):
        results.final_table(pd.DataFrame([{**base, "profile": "laptop"}] * 2))
    assert len(results.final_table(pd.DataFrame([{**base, "profile": p} for p in ("laptop", "paper")]))) == 2
    with pytest.raises(ValueError, match="no result rows"):
        results.final_table(pd.DataFrame({"a": [1]}))


def test_the_table_has_data_bc_omac_with_mean_and_std_over_seeds_ddof_0(capsys, tmp_path):
    base = {**ROW, "profile": "laptop"}
    rows = pd.DataFrame(
        [
            {**base, "algorithm": a, "kind": "final", "seed": s, "return_mean": r, "win_rate": w}
            for a, s, r, w in (("omac", 0, 10, 0.5), ("omac", 1, 14, 0.7), ("bc", 0, 8, 0.1), ("bc", 1, 8, 0.1))
        ]
        + [
            {
                **base,
                "algorithm": "omac",
                "kind": "eval",
                "seed": s,
                "step": t,
                "return_mean": 10 * s + t,
                "win_rate": 0.5,
            }
            for s in (0, 1)
            for t in range(7)
        ]
        + [{**base, "algorithm": "data", "variant": "", "kind": "data", "return_mean": 9, "win_rate": 0.2}]
    )
    table = results.final_table(rows)
    assert table.algorithm.tolist() == ["data", "BC", "OMAC"]
    assert table["return"].tolist() == ["9.00", "8.00 ± 0.00", "12.00 ± 2.00"]
    assert (
        table["last five"].tolist()[2] == "9.00 ± 5.00" and table["best"].tolist()[2] == "11.00 ± 5.00"
    )  # steps 2 to 6; 6 and 16
    assert table["win rate"].tolist() == ["0.20", "0.10 ± 0.00", "0.60 ± 0.10"]
    empty = {c: None for c in SCORES if c not in rows}
    write_csv(rows.assign(map="6h_vs_8z", level="good", **empty), tmp_path / "r.csv")
    assert main(["table", str(tmp_path / "r.csv")]) == 0
    assert "OMAC" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments",
    [["card", "nowhere.h5"], ["subsample", "nonsense"], ["pull", "madt", "6h_vs_8z", "good"], ["table", "no.csv"]],
)
def test_bad_input_on_the_command_line_ends_in_one_line_and_code_1(arguments, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
