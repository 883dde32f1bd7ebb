"""A cell from file to rows, the tables made of rows, and the command line."""

import numpy as np
import pandas as pd
import pytest

from omac import results, sources, study
from omac.__main__ import main
from omac.config import load_params
from omac.episodes import Episodes
from omac.evaluation import battle_seeds, evaluate
from omac.training import Diverged

COLUMNS = ["env", "map", "level", "ratio", "algorithm", "variant", "profile", "seed", "step", "kind",
           "episodes", "return_mean", "return_std", "win_rate", "length"]


@pytest.fixture
def cell(toy, tmp_path, monkeypatch):
    """Run a smoke cell on the toy data from a data folder of its own."""
    monkeypatch.setattr(study, "BUILD", tmp_path / "build")
    toy.save(tmp_path / "episodes" / "toy-line-random-100.h5")
    return lambda **k: study.run_cell("toy-line-random-100", k.pop("algorithm", "omac"), profile="smoke", folder=tmp_path, progress=False, **k)


def test_a_cell_gives_a_row_per_seed_and_snapshot_a_final_one_and_the_data_sets_own(cell, tmp_path, toy):
    rows, trained, _ = cell(out=tmp_path / "a.csv")
    written = pd.read_csv(tmp_path / "a.csv")
    assert list(written.columns[:15]) == COLUMNS and len(written) == len(rows)
    assert written.groupby("kind").size().to_dict() == {"data": 1, "eval": 4, "final": 2}
    assert set(written.env) == {"toy"} and set(written[written.kind == "eval"].step) == {100, 200}
    assert written[written.kind == "final"].episodes.eq(8).all() and written[written.kind == "eval"].episodes.eq(4).all()
    for name in ("q_tot", "return_followed", "weight_std", "weight_clipped", "L_V", "L_Q", "L_pi", "entropy", "norm_q"):
        assert written[written.kind != "data"][name].notna().all()
    assert abs(written[written.kind == "data"].return_mean.item() - toy.returns.mean()) < 1e-4


def test_two_runs_of_one_cell_write_identical_bytes_and_resume_for_free(cell, tmp_path):
    cell(out=tmp_path / "a.csv")
    cell(out=tmp_path / "b.csv")                                        # continues from the finished checkpoint
    for f in (tmp_path / "build" / "checkpoints").iterdir():
        f.unlink()
    cell(out=tmp_path / "c.csv")                                        # trains again
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes() == (tmp_path / "c.csv").read_bytes()


def test_a_cell_that_diverges_writes_no_result(cell, tmp_path, monkeypatch):
    from omac.algorithms import omac
    monkeypatch.setattr(omac, "policy_loss", lambda nets, batch, adv, hyper: nets.pi(batch.o).mean((1, 2, 3)) * np.nan)
    with pytest.raises(Diverged, match="seed 0, step 0: L_pi is nan"):
        cell(out=tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_data_that_the_simulator_does_not_fit_is_refused_before_the_first_step(cell, tmp_path, toy, monkeypatch):
    from dataclasses import replace
    replace(toy, obs=np.concatenate([toy.obs, toy.obs], -1)).save(tmp_path / "episodes" / "toy-line-random-100.h5")
    monkeypatch.setattr(study, "train", None)
    with pytest.raises(ValueError, match=r"is of Spec\(.*obs=12.* the simulator is Spec\(.*obs=6"):
        cell()


def test_missing_data_unknown_algorithms_and_bad_names_are_named(cell, tmp_path):
    with pytest.raises(ValueError, match="unknown algorithm 'omax'; there are omac, bc"):
        cell(algorithm="omax")
    with pytest.raises(ValueError, match="is not <source>-<map>-<level>-<ratio>"):
        study.run_cell("smax-6h_vs_8z", "omac")
    with pytest.raises(ValueError, match="not pulled yet"):
        study.run_cell("smax-6h_vs_8z-medium-100", "omac", folder=tmp_path)
    with pytest.raises(ValueError, match="ratio is 30 %"):
        study.draw_sample("smax-6h_vs_8z-medium-30")


def test_a_ratio_is_nested_in_the_whole_sample_and_its_parent_is_named(toy, tmp_path):
    raw = sources.raw_path("toy", "line", "random", tmp_path / "raw")
    digest = toy.save(raw)
    params = {**load_params(), "data": {"sample_episodes": 200, "seed": 0}}
    ids = {}
    for ratio in (100, 50, 10):
        data = Episodes.load(study.draw_sample(f"toy-line-random-{ratio}", params, tmp_path)[0])
        ids[ratio] = data.id.tolist()
        assert data.about["parent_sha256"] == digest and len(data) == 2 * ratio
    assert ids[10] == ids[50][:20] == ids[100][:20]


def test_all_snapshots_and_seeds_in_one_call_score_as_each_one_alone(cell):
    _, trained, _ = cell()
    states, net = [s["policy"] for s in trained.snapshots], trained.nets.pi
    seeds = battle_seeds(5, shape=(4, 12))
    together = evaluate("toy:line", net, states, seeds)
    for p in range(4):
        one = {k: x[p % 2: p % 2 + 1] for k, x in states[p // 2].items()}
        alone = evaluate("toy:line", net, [one], seeds[p: p + 1])
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_array_equal(a[p], b[0])


def test_results_are_gathered_in_order_with_each_data_row_once(cell, tmp_path):
    for name in ("omac", "bc"):
        cell(algorithm=name, out=tmp_path / "cells" / f"toy-line-random-100-{name}.csv")
    out, cells = results.gather(tmp_path / "cells", tmp_path / "results.csv")
    rows = pd.read_csv(out)
    assert cells == 2 and (rows.kind == "data").sum() == 1 and set(rows.algorithm) == {"omac", "bc", "data"}
    with pytest.raises(FileNotFoundError, match="make repro"):
        results.gather(tmp_path / "nothing")


def test_the_table_has_data_bc_omac_with_mean_and_std_over_seeds_ddof_0(capsys, tmp_path):
    base = {"env": "smax", "map": "m", "level": "l", "ratio": 100, "variant": "default", "episodes": 320}
    rows = pd.DataFrame([{**base, "algorithm": a, "kind": "final", "seed": s, "return_mean": r, "win_rate": w}
                         for a, s, r, w in (("omac", 0, 10, 0.5), ("omac", 1, 14, 0.7), ("bc", 0, 8, 0.1), ("bc", 1, 8, 0.1))]
                        + [{**base, "algorithm": "data", "variant": "", "kind": "data", "return_mean": 9, "win_rate": 0.2}])
    table = results.final_table(rows)
    assert table.algorithm.tolist() == ["data", "BC", "OMAC"]
    assert table["return"].tolist() == ["9.00", "8.00 ± 0.00", "12.00 ± 2.00"]
    assert table["win rate"].tolist() == ["0.20", "0.10 ± 0.00", "0.60 ± 0.10"]
    rows.to_csv(tmp_path / "r.csv", index=False)
    assert main(["table", str(tmp_path / "r.csv")]) == 0
    assert "OMAC" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("arguments", [["card", "nowhere.h5"], ["subsample", "nonsense"], ["pull", "madt", "6h_vs_8z", "good"], ["table", "no.csv"]])
def test_bad_input_on_the_command_line_ends_in_one_line_and_code_1(arguments, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
