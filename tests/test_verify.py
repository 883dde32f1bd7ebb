"""Do two runs agree? The three words, by hand; and what `verify` says of a changed row, policy and episode."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from omac.analysis.agreement import DIFFERENT, SAME, WITHIN, agreement, compare_means
from omac.analysis.results import gather
from omac.config.hyper import load_params
from omac.datasets import digest
from omac.files import read_table, record_sums, write_csv
from omac.paths import ROOT
from omac.schema import KEYS, SCORES
from omac.study import policies, verify
from omac.study.grid import known_cells


def rows(returns, machine="a", algorithm="bc"):
    """Final rows of one cell, a seed for each return."""
    about = {"env": "smax", "map": "m", "level": "good", "ratio": 100, "algorithm": algorithm, "variant": "default"}
    about["temperature"] = "published"
    lines = [
        {**about, "profile": "laptop", "seed": k, "step": 10, "kind": "final", "return_mean": x}
        for k, x in enumerate(returns)
    ]
    return pd.DataFrame(lines).assign(machine=machine)


def test_equal_numbers_are_the_same_whatever_machine_made_them():
    assert agreement(rows([1.0, 2, 3]), rows([1.0, 2, 3], "b"))["agreement"].tolist() == [SAME]


def test_means_are_within_or_beyond_welchs_interval_of_their_difference():
    theirs = [10.0, 11, 12, 13, 14]  # mean 12, variance 2.5: the interval of a difference of two such is ± 2.306
    assert compare_means(np.add(theirs, 2.30), theirs) == WITHIN
    assert compare_means(np.add(theirs, 2.31), theirs) == DIFFERENT
    assert agreement(rows(np.add(theirs, 1)), rows(theirs))["agreement"].tolist() == [WITHIN]


def test_one_run_without_a_spread_is_the_same_or_different():
    assert compare_means([3.0], [3.0]) == SAME and compare_means([3.0], [3.1]) == DIFFERENT
    assert compare_means([3.0, 3.0], [4.0, 4.0]) == DIFFERENT


def test_another_learning_curve_with_the_same_finals_is_not_the_same():
    ours = pd.concat([rows([1.0, 2]), rows([5.0, 5]).assign(kind="eval")])
    theirs = pd.concat([rows([1.0, 2]), rows([5.0, 6]).assign(kind="eval")])
    assert agreement(ours, theirs)["agreement"].tolist() == [WITHIN]


def test_policies_of_several_temperatures_are_held_against_their_own_and_share_the_values():
    values = rows([0.0, 0.0]).assign(kind="value", temperature=None, return_mean=np.nan, q_tot=[3.0, 4.0])
    theirs = [rows([1.0, 2.0]).assign(temperature="published"), rows([5.0, 6.0]).assign(temperature="beta_5")]
    other = [theirs[0], rows([5.0, 6.1]).assign(temperature="beta_5")]
    found = agreement(pd.concat([values, *other]), pd.concat([values, *theirs]))
    assert found["agreement"].tolist() == [SAME, WITHIN] and found["algorithm"].tolist() == ["BC", "BC, beta_5"]
    moved = values.assign(q_tot=[3.0, 4.5])
    assert agreement(pd.concat([moved, *theirs]), pd.concat([values, *theirs]))["agreement"].tolist() == [WITHIN] * 2
    older = theirs[0].drop(columns="temperature")  # rows made before there were temperatures are of the published ones
    assert agreement(pd.concat(theirs), older)["agreement"].tolist() == [SAME]


def test_runs_without_a_common_cell_are_refused():
    with pytest.raises(ValueError, match="no cell in common"):
        agreement(rows([1.0]), rows([1.0], algorithm="omac"))


@pytest.mark.slow
def test_verify_names_the_first_episode_that_comes_out_otherwise(toy, tmp_path, monkeypatch):
    from omac.behaviour import collect as collecting

    written = digest.write(digest.of(toy), tmp_path / "raw.txt")
    monkeypatch.setattr(verify, "digest_path", lambda name: written)
    reward = toy.reward.copy()
    for data, word in ((toy, SAME), (replace(toy, reward=reward), SAME)):
        monkeypatch.setattr(collecting, "collect", lambda *a, d=data, **k: iter([replace(d, id=np.zeros_like(d.id))]))
        assert verify.raw("toy", "line", "random").word == word
    reward[toy.start[3]] += 1
    found = verify.raw("toy", "line", "random")
    assert found.word == DIFFERENT and "1 differ, the first is episode 3 in rewards" in found.detail


@pytest.mark.slow
def test_a_kept_policy_fights_the_same_battles_and_another_weight_is_noticed(tmp_path):
    kept = sorted(policies.KEPT.glob("*.safetensors"))
    assert kept, "no policy is kept"
    assert verify.policy(kept[0]).word == SAME
    tensors = load_file(kept[0])
    name = max((k for k in tensors if k.startswith("policy.")), key=lambda k: tensors[k].numel())
    tensors[name] = -tensors[name]
    about = policies.read_policy(kept[0]).about
    save_file(tensors, tmp_path / kept[0].name, metadata={"about": json.dumps(about)})
    record_sums(tmp_path / kept[0].name)
    assert verify.policy(tmp_path / kept[0].name).word == DIFFERENT


def test_kept_policies_stay_small_and_name_cells_of_the_study():
    kept = sorted(policies.KEPT.glob("*.safetensors"))
    assert {f.stem for f in kept} <= set(known_cells()) and sum(f.stat().st_size for f in kept) < 4_000_000


def test_the_committed_rows_are_what_their_cells_gather_to():
    if not any((ROOT / "data" / "results").glob("*.csv")):
        pytest.skip("no cell of the study has been run")
    assert verify.rows().word == SAME


def test_rows_that_are_not_what_their_cells_gather_to_are_noticed(tmp_path, monkeypatch):
    """One number of results.csv that is another, and a cell of the study whose rows are not there."""
    about = {"simulator": "x", "episodes": 320, "return_std": 1.0, "win_rate": 0.5, "length": 20}
    for algorithm in ("bc", "icq"):
        table = rows([9.0, 10.0], algorithm=algorithm).assign(map="6h_vs_8z", **about)
        write_csv(table[[*KEYS, *SCORES]], tmp_path / "data" / "results" / f"smax-6h_vs_8z-good-100-{algorithm}.csv")
    files = ["smax-6h_vs_8z-good-100-bc.csv", "smax-6h_vs_8z-good-100-icq.csv"]
    gathered, _ = gather(tmp_path / "data" / "results", tmp_path / "data" / "results.csv", files)
    monkeypatch.setattr(verify, "ROOT", tmp_path)
    monkeypatch.setattr(verify, "result_files", lambda params: files)
    assert verify.rows().word == SAME
    write_csv(read_table(gathered).assign(return_mean=9.5), gathered)
    assert verify.rows().word == DIFFERENT
    gather(tmp_path / "data" / "results", gathered, files[:1])
    assert verify.rows().word == DIFFERENT
    (tmp_path / "data" / "results" / files[1]).unlink()
    assert verify.rows().word == DIFFERENT


@pytest.mark.parametrize(
    "name", ["behaviour/smax-5m_vs_6m.safetensors", "steps/smax-6h_vs_8z-poor-100-values.csv", "paper/table4.csv"]
)
def test_verify_names_a_committed_file_with_a_flipped_bit_or_one_that_is_gone(name, tmp_path, monkeypatch):
    assert verify.files().word == SAME
    monkeypatch.setattr(verify, "ROOT", tmp_path)
    folder = shutil.copytree(ROOT / "data" / name.split("/")[0], tmp_path / "data" / name.split("/")[0])
    file = folder / name.split("/")[1]
    assert verify.files().word == SAME
    content = file.read_bytes()
    file.write_bytes(content[:700] + bytes([content[700] ^ 1]) + content[701:])
    with pytest.raises(ValueError, match=file.name):
        verify.files()
    if (folder / "SHA256SUMS").exists():
        file.unlink()
        with pytest.raises(OSError, match=file.name):
            verify.files()


def test_the_cell_that_verify_trains_is_one_of_the_study():
    dataset, algorithm, variant, profile = verify.ANEW
    assert profile == load_params()["profile"] and variant == "default"
    cells = known_cells()
    assert f"{dataset}-{algorithm}" in cells and cells[f"{dataset}-{algorithm}"]["variant"] == variant
    there = {path.stem for path in (ROOT / "data" / "results").glob("*.csv")}
    assert not there or f"{dataset}-{algorithm}" in there, "its rows are not committed"
