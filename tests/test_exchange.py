"""Data sets leave in the layouts that others read, and come back the same; what a researcher recorded comes in, told truthfully."""

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
from test_sources import as_madt, as_pymarl, as_vault, fabricated, mirror, record  # noqa: F401

from omac.analysis.agreement import SAME, agreement
from omac.analysis.results import final_table, fought, short
from omac.cli import main
from omac.data.episodes import Episodes
from omac.data.validation import FIELDS, DataError
from omac.datasets import digest
from omac.datasets.export import ENDINGS, write_layout
from omac.datasets.importing import LAYOUTS, RESERVED, Recorded, import_file
from omac.datasets.loaders import kept
from omac.datasets.registry import DataSet, digest_path, draw_sample
from omac.files import read_rows
from omac.paths import ROOT
from omac.study import cell, prepare

TOLD = Recorded("rware", "tiny_2ag", "mixed", ("snac, two snapshots",))


def recorded(count=50, seed=0, sizes=(2, 7, 9, 5), limit=30):
    """Made-up episodes of an environment that nobody knows: negative rewards, no wins, any action at any time."""
    battles = [record(("lost", "limit")[i % 3 == 0], seed + i, sizes, limit) for i in range(count)]
    every = [np.ones_like(b.avail) for b in battles]
    return [b._replace(avail=x, reward=3 - 40 * b.reward) for b, x in zip(battles, every, strict=True)]


@pytest.fixture
def file(tmp_path):
    """A PyMARL file of 50 episodes of that environment; time limits are not flagged."""
    return as_pymarl(tmp_path / "mine.h5", recorded(), limit=30, flag_limits=False)


@pytest.mark.parametrize("layout", ["hdf5", "pymarl", pytest.param("vault", marks=pytest.mark.slow)])
def test_an_export_comes_back_as_the_same_data_set(layout, toy, tmp_path):
    path = write_layout(toy, layout, tmp_path / "out" / f"toy{ENDINGS[layout]}")
    name, there, found = import_file(path, layout, Recorded(), tmp_path / "data")
    assert (name, there, found) == ("toy-line-random", tmp_path / "data" / "raw" / "toy-line-random.h5", digest.of(toy))
    back = kept.restored(path)
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(back, field), getattr(toy, field))
    assert back.about == toy.about


@pytest.mark.slow
def test_flashbax_reads_an_exported_vault_identically(toy, tmp_path):
    vault = pytest.importorskip("flashbax.vault", reason="flashbax is not installed")
    path = write_layout(toy, "vault", tmp_path / "toy.vlt")
    x = vault.Vault("toy.vlt", rel_dir=str(tmp_path), vault_uid=path.name).read().experience
    row, n = toy.rows()[1], toy.action.shape[1]
    np.testing.assert_array_equal(x["observations"][0], toy.obs[row])
    np.testing.assert_array_equal(x["infos"]["state"][0], toy.state[row])
    np.testing.assert_array_equal(x["infos"]["legals"][0], toy.avail[row])
    np.testing.assert_array_equal(x["actions"][0], toy.action)
    for key, ours in (("rewards", toy.reward), ("terminals", toy.terminated), ("truncations", toy.truncated)):
        np.testing.assert_array_equal(x[key][0], np.repeat(ours[:, None], n, 1))


@pytest.mark.slow
def test_a_vault_of_6h_vs_8z_poor_is_pulled_again_with_the_same_digest(mirror):  # noqa: F811
    home = mirror.parent
    path, first = prepare.pull("smax", "6h_vs_8z", "poor", 8, 0, home / "a")
    data = Episodes.load(path)
    write_layout(data, "vault", home / "6h_vs_8z.vlt")
    target = mirror / "smax" / "6h_vs_8z" / "poor"
    target.mkdir(parents=True)
    shutil.make_archive(str(target / "poor"), "zip", home, "6h_vs_8z.vlt")
    (home / "b" / "digests").mkdir(parents=True)
    shutil.copy(digest_path("smax-6h_vs_8z-poor", home / "a"), home / "b" / "digests")

    def never(*_):
        raise AssertionError("collected, where a copy lies in the mirror")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("omac.behaviour.collect.collect", never)
        again, second = prepare.pull("smax", "6h_vs_8z", "poor", 8, 0, home / "b")
    assert second == first and Episodes.load(again).about == data.about
    name, _, third = import_file(target / "poor.zip", "vault", Recorded(), home / "b")
    assert (name, third) == ("smax-6h_vs_8z-poor", first)


def test_a_copy_of_another_size_in_the_mirror_is_not_taken(mirror, toy, monkeypatch):  # noqa: F811
    copy = toy.select(range(20), source="smax", level="poor", env="smax", map="6h_vs_8z")
    copy.save(mirror / "smax" / "6h_vs_8z" / "poor" / "a.h5")
    monkeypatch.setattr("omac.behaviour.collect.collect", lambda *_: [copy.select(range(5))])
    assert prepare.pull("smax", "6h_vs_8z", "poor", 20, 0, mirror.parent / "a")[1].sizes["episodes"] == 20
    assert prepare.pull("smax", "6h_vs_8z", "poor", 5, 0, mirror.parent / "b")[1].sizes["episodes"] == 5


@pytest.mark.parametrize("what", ["reward", "obs", "attribute"])
def test_an_export_that_was_changed_is_refused(what, toy, tmp_path):
    path = write_layout(toy, "pymarl", tmp_path / "toy.pymarl.h5")
    with h5py.File(path, "r+") as f:
        if what == "attribute":
            f.attrs[kept.NAME] = f.attrs[kept.NAME].replace('"source": "toy"', '"source": "top"')
        else:
            f[what][3, 0] = f[what][3, 0] + 0.25
    with pytest.raises(DataError, match="changed after it was exported|not as it was written"):
        import_file(path, "pymarl", Recorded(), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_pymarl_file_of_an_unknown_environment_comes_out_as_it_was_flagged(file, tmp_path):
    name, path, _ = import_file(file, "pymarl", TOLD, tmp_path)
    data, battles = Episodes.load(path), recorded()
    assert name == "imported-tiny_2ag-mixed" and data.spec == replace(data.spec, env="rware", n=2, obs=7, horizon=30)
    assert data.truncated[data.start[1:] - 1].tolist() == [b.truncated for b in battles]
    np.testing.assert_array_equal(data.reward, np.concatenate([b.reward for b in battles]))
    assert data.unknown.all() and np.isnan(data.win_rate) and data.about["policies"] == ["snac, two snapshots"]
    assert data.about["source"] == "imported" and list(data.about["origin"]["files"]) == ["mine.h5"]
    assert "every outcome is unknown" in data.about["conversion"]


@pytest.mark.slow
def test_a_vault_of_an_unknown_environment_comes_out_as_it_was_flagged(tmp_path):
    battles = recorded(6)
    ended = [b._replace(truncated=False) for b in battles]  # as_vault flags every end as terminal
    as_vault(tmp_path / "line.vlt", ended, uid="Mixed", pay=(1, 1))
    path = import_file(tmp_path / "line.vlt", "vault", TOLD, tmp_path)[1]
    data = Episodes.load(path)
    assert data.terminated.sum() == len(data) == 6 and data.unknown.all()
    np.testing.assert_array_equal(data.reward, np.concatenate([b.reward for b in battles]))
    np.testing.assert_array_equal(data.action, np.concatenate([b.action for b in battles]))


def test_pickles_of_an_unknown_environment_are_read_from_their_folder(tmp_path):
    battles = recorded(4, sizes=(2, 7, 10, 5))
    for i, b in enumerate(battles):
        as_madt(tmp_path / "mine" / f"{i}.pkl", b)
    data = Episodes.load(import_file(tmp_path / "mine", "madt", TOLD, tmp_path)[1])
    assert len(data) == 4 and data.about["horizon"] == max(len(b.reward) for b in battles)
    np.testing.assert_array_equal(data.reward, np.concatenate([b.reward for b in battles]))


def test_starcraft_files_keep_smacs_rules_when_they_are_imported(tmp_path):
    as_pymarl(tmp_path / "a.h5", fabricated())
    data = Episodes.load(import_file(tmp_path / "a.h5", "pymarl", replace(TOLD, env="smac", map="3m"), tmp_path)[1])
    assert data.win.sum() == 3 and not data.unknown.any() and data.about["horizon"] == 60
    as_pymarl(tmp_path / "b.h5", fabricated(sizes=(3, 30, 48, 8)))
    with pytest.raises(DataError, match="n, O, S, A"):
        import_file(tmp_path / "b.h5", "pymarl", replace(TOLD, env="smac", map="3m", level="good"), tmp_path)


@pytest.mark.parametrize("source", RESERVED)
def test_nothing_is_imported_under_the_name_of_another_source(source, file, tmp_path):
    for name in (source, source.upper()):  # some disks take both for one
        with pytest.raises(ValueError, match=f"source '{name}' is taken"):
            import_file(file, "pymarl", replace(TOLD, source=name), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_file_that_claims_to_be_smaxs_keeps_that_name_only_with_a_recorded_digest(toy, tmp_path):
    claim = toy.select(range(40), source="smax")
    path = write_layout(claim, "hdf5", tmp_path / "a.h5")
    name, there, _ = import_file(path, "hdf5", Recorded(), tmp_path / "data")
    assert name == "imported-line-random" and "said to be smax" in Episodes.load(there).about["conversion"]
    digest.write(digest.of(claim), digest_path("smax-line-random", tmp_path / "data"))
    name, there, found = import_file(path, "hdf5", Recorded(), tmp_path / "data")
    assert name == "smax-line-random" and found == digest.of(claim)
    sample = draw_sample("smax-line-random-10", {"data": SIZES}, tmp_path / "data")
    shutil.move(sample[0], tmp_path / "b.h5")
    assert import_file(tmp_path / "b.h5", "hdf5", Recorded(), tmp_path / "data") == ("smax-line-random-10", *sample)
    with pytest.raises(
        ValueError, match="--source is 'mine', and the file is the data set smax-line-random, recorded here"
    ):
        import_file(path, "hdf5", Recorded(source="mine"), tmp_path / "data")  # else that name would mean nothing


def test_an_export_removes_no_folder_that_is_no_vault(toy, tmp_path):
    precious = tmp_path / "out" / "Random" / "precious"
    precious.parent.mkdir(parents=True)
    precious.touch()
    with pytest.raises(OSError, match="out/Random is there and is no Vault: name another folder with --out"):
        write_layout(toy, "vault", tmp_path / "out")
    assert precious.exists()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file is a file; a folder is needed"):
        write_layout(toy, "vault", tmp_path / "file")


def test_an_archive_of_nothing_is_called_that(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w"):
        pass
    with pytest.raises(DataError, match="a.zip: file: an archive of nothing"):
        import_file(tmp_path / "a.zip", "vault", TOLD, tmp_path / "data")


SIZES = {"pull_episodes": 40, "sample_episodes": 30, "held_out_episodes": 10, "seed": 0}


@pytest.mark.parametrize(
    ("told", "layout", "said"),
    [
        (replace(TOLD, env=None), "pymarl", "--env is missing"),
        (replace(TOLD, policies=()), "pymarl", "--policies is missing"),
        (replace(TOLD, map="tiny-2ag"), "pymarl", "map 'tiny-2ag' is not made of letters"),
        (replace(TOLD, source="my lab"), "pymarl", "source 'my lab' is not made of letters"),
        (replace(TOLD, env="smax", map="6h_vs_8z", level="god"), "pymarl", "unknown level 'god'"),
        (replace(TOLD, level="x" * 100), "pymarl", "level has 100 letters, at most 60 fit the name of a file"),
        (TOLD, "pymral", "unknown layout 'pymral'.*did you mean pymarl"),
        (TOLD, "hdf5", "another layout"),
    ],
)
def test_what_the_file_does_not_say_must_be_told_in_words_that_make_a_name(told, layout, said, file, tmp_path):
    with pytest.raises(ValueError, match=said) as e:
        import_file(file, layout, told, tmp_path / "data")
    assert "\n" not in str(e.value) and not (tmp_path / "data").exists()


def test_what_our_own_file_says_is_not_to_be_contradicted(toy, tmp_path):
    path = write_layout(toy, "hdf5", tmp_path / "a.h5")
    for told in (Recorded(map="other"), Recorded(policies=("me",))):
        with pytest.raises(ValueError, match="leave it out"):
            import_file(path, "hdf5", told, tmp_path / "data")
    assert set(LAYOUTS) == {"pymarl", "vault", "madt", "hdf5"}


@pytest.mark.parametrize(
    ("count", "asked", "dealt"),
    [(50, (1000, 200), (42, 8)), (50, (30, 20), (30, 20)), (2, (60, 20), (1, 1)), (50, (60, 0), (50, 0))],
)
def test_fifty_episodes_are_fifty_and_dealt_out_as_asked_for(count, asked, dealt, toy, tmp_path):
    data = {"pull_episodes": 1, "sample_episodes": asked[0], "held_out_episodes": asked[1], "seed": 0}
    wanted = DataSet("mine", "line", "random")
    digest.write(digest.of(toy.select(range(count))), digest_path(wanted.raw, tmp_path))
    params, said = prepare.fitted({"data": data}, wanted, tmp_path)
    assert (params["data"]["sample_episodes"], params["data"]["held_out_episodes"]) == dealt
    assert bool(said) == (sum(dealt) < sum(asked)) and (not said or f"{count} episodes" in said)
    assert prepare.fitted({"data": data}, replace(wanted, source="smax"), tmp_path)[1] == ""


def test_one_episode_is_too_few(toy, tmp_path):
    digest.write(digest.of(toy.select([0])), digest_path("mine-line-random", tmp_path))
    with pytest.raises(ValueError, match="one to train on and one to hold out"):
        prepare.fitted({"data": SIZES}, DataSet("mine", "line", "random"), tmp_path)


def test_imported_data_that_are_not_here_are_answered_with_the_command(tmp_path):
    with pytest.raises(ValueError, match="unknown source 'mine'.*python -m omac import"):
        prepare.ensure("mine-line-random-100", {"data": SIZES}, tmp_path)


@pytest.fixture
def without_simulator(file, tmp_path, monkeypatch):
    """The rows of a cell on data of an environment that nobody knows, and their file."""
    monkeypatch.setattr(cell, "BUILD", tmp_path / "build")
    name = import_file(file, "pymarl", TOLD, tmp_path)[0]
    params = prepare.home("smoke")[0]
    params["profiles"]["smoke"] |= {"steps": 4, "eval_every": 2, "seeds": [0, 1]}
    prepare.ensure(f"{name}-100", params, tmp_path)
    settings = {
        "profile": "smoke",
        "params": params,
        "folder": tmp_path,
        "progress": False,
        "temperatures": ["published"],
    }
    rows = cell.run_cell(f"{name}-100", "omac", out=tmp_path / "rows.csv", **settings)[0]
    return rows, tmp_path / "rows.csv"


@pytest.mark.slow
def test_without_a_simulator_offline_metrics_take_the_place_of_scores(without_simulator, capsys):
    rows, path = without_simulator
    final = read_rows(path)[lambda x: x.kind == "final"]
    assert (final.episodes == 0).all() and np.isfinite(final.held_log_likelihood).all() and not fought(rows)
    table = short(final_table(rows)).set_index("algorithm")
    assert table.loc["OMAC", "return"] == "not fought" and "±" in table.loc["OMAC", "log-likelihood"]
    assert main(["table", str(path), "--against", str(path)]) == 0
    said = capsys.readouterr().out
    assert "offline metrics" in said and "log-likelihood" in said and SAME in said
    worse = rows.assign(held_log_likelihood=rows.held_log_likelihood - 5)
    assert "log-likelihood" in agreement(rows, worse)["return here"][0]
    assert agreement(rows, worse)["agreement"][0] != SAME


@pytest.mark.slow
@pytest.mark.parametrize(("env", "map_name"), [("mpe", "simple_spread"), ("smax", "3m")])
def test_data_of_an_environment_or_map_without_a_simulator_are_checked_and_carded(env, map_name, toy, tmp_path, capsys):
    data = toy.select(range(80), env=env, map=map_name)
    data.save(tmp_path / "a.h5")
    for command in ("check", "card"):
        assert main([command, str(tmp_path / "a.h5")]) == 0
    assert f"no simulator is known for {env}:{map_name}" in capsys.readouterr().out


@pytest.mark.parametrize("changed", [{"episodes": 8}, {"env": "smax", "map": "3m", "episodes": 8}, {"env": "a b"}])
def test_rows_of_an_unknown_environment_pass_where_nothing_was_fought(changed, tmp_path):
    from test_checksums import ROW

    from omac.files import write_csv

    none = {
        "episodes": 0,
        "return_mean": None,
        "return_std": None,
        "win_rate": None,
        "length": None,
        "simulator": "none",
    }
    row = ROW | none | {"env": "rware", "map": "tiny", "level": "mixed", "temperature": ""}
    own = row | {"kind": "data", "algorithm": "data", "episodes": 50, "return_mean": -812.5, "length": 3000.0}
    assert len(read_rows(write_csv(pd.DataFrame([row, own]), tmp_path / "a.csv"))) == 2
    with pytest.raises(ValueError, match="which cannot be"):
        read_rows(write_csv(pd.DataFrame([row | changed]), tmp_path / "b.csv"))


@pytest.mark.slow
def test_fifty_episodes_of_an_unknown_environment_go_from_file_to_table_in_two_commands(file, tmp_path):
    """The two commands of docs/data.md, in a copy of the checkout."""
    words = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(words, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    root = tmp_path / "project"
    for name in names:
        if (ROOT / name).is_file() and not name.startswith(("data/", "figures/", ".venv")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    shutil.copy(file, root / "mine.h5")
    page = (ROOT / "docs" / "data.md").read_text()
    lines = [x for x in page.splitlines() if "mine.h5" in x or "-p dataset imported-" in x]
    assert len(lines) == 2
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "OMAC_PROGRESS": "0"}
    for line in lines:
        line = line.replace("-p profile quick", "-p profile smoke")
        done = subprocess.run(line, shell=True, cwd=root, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    rows = read_rows(root / "build" / "mine.csv")
    final = rows[rows.kind == "final"]
    assert (final.episodes == 0).all() and np.isfinite(final.held_log_likelihood).all()
    assert rows[rows.kind == "data"].episodes.iloc[0] == 38  # of 50; 12 are held out
    executed = (root / "build" / "mine.ipynb").read_text()
    assert "no simulator is known for rware:tiny_2ag" in executed and "log-likelihood" in executed
