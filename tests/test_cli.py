"""The commands train and doctor, and the version."""

import tomllib
from pathlib import Path

import pandas as pd
import pytest

from omac.cli import main
from omac.paths import BUILD, ROOT
from omac.study import cell, doctor, prepare

DATASET = "smax-6h_vs_8z-medium-100"


def test_the_version_is_that_of_the_project(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert end.value.code == 0 and capsys.readouterr().out == f"omac {project['version']}\n"


@pytest.fixture
def calls(monkeypatch):
    """What run_cell was called with; no data are made, nothing is trained."""
    made = []

    def run_cell(*args, **options):
        made.append((args, options))
        return pd.DataFrame({"seed": [0]}), None, None

    monkeypatch.setattr(cell, "run_cell", run_cell)
    monkeypatch.setattr(prepare, "ensure", lambda *args: made.append(args[0]))
    monkeypatch.setattr("omac.analysis.results.final_table", lambda rows: rows)
    monkeypatch.setattr("omac.analysis.results.short", lambda table: table)
    return made


def test_train_runs_a_cell_of_the_study_with_what_was_typed(calls, capsys):
    words = ["train", DATASET, "omac", "--variant", "wo_cca", "--profile", "smoke", "--seeds", "3", "4"]
    assert main([*words, "--temperature", "published", "beta_5", "--device", "cpu", "--out", "build/x.csv"]) == 0
    dataset, (args, options) = calls
    assert dataset == DATASET and args[:6] == (DATASET, "omac", "wo_cca", "smoke", Path("build/x.csv"), "cpu")
    assert args[7] == ROOT / "data" / "smoke" and options == {"temperatures": ["published", "beta_5"], "seeds": [3, 4]}
    assert "as notebooks/03_train.ipynb writes them" in capsys.readouterr().out


def test_train_takes_the_profile_of_the_study_all_its_seeds_and_temperatures_by_default(calls):
    assert main(["train", DATASET, "bc"]) == 0
    args, options = calls[1]
    assert args[2:6] == ("default", "laptop", BUILD / "train" / f"{DATASET}-bc-default-laptop.csv", "auto")
    assert options == {"temperatures": None, "seeds": None}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["smax-coridor-good-100", "bc"], "did you mean corridor?"),
        ([DATASET, "bcc"], "bcc"),
        ([DATASET, "bc", "--profile", "labtop"], "did you mean laptop?"),
        ([DATASET, "omac", "--variant", "wo_cc"], "did you mean wo_cca"),
        ([DATASET, "omac", "--temperature", "beta_6"], "unknown temperature of omac 'beta_6'"),
        ([DATASET, "bc", "--seeds", "0", "0"], "--seeds: seeds are [0, 0]"),
        ([DATASET, "bc", "--seeds", "99999999999"], "distinct whole numbers from 0 to 2^32 - 1"),
        ([DATASET, "omac", "--temperature", "beta_5", "beta_5"], "--temperature: beta_5 stands there twice"),
        ([DATASET.replace("-100", "-held"), "bc"], "never trained on; take one of 100, 50, 10"),
        ([DATASET, "bc", "--profile", ""], "unknown profile ''"),
        ([DATASET, "omac", "--device", "gpu"], "choose auto, cpu, cuda or cuda:<number>"),
    ],
    ids=lambda x: "-".join(x[1:]) if isinstance(x, list) else "",
)
def test_a_misspelt_word_of_train_ends_in_one_line_before_any_work(words, said, monkeypatch, capsys):
    monkeypatch.setattr(cell, "run_cell", lambda *args, **options: pytest.fail("trained"))
    assert main(["train", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error


def test_doctor_names_packages_that_are_not_as_locked():
    lock = doctor.locked((ROOT / "requirements.txt").read_text())
    assert doctor.packages(lock, lock.get).startswith("all ")
    other = {**lock, "jax": "0.1.0", "h5py": ""}
    said = doctor.packages(lock, other.get)
    assert said.startswith(f"jax 0.1.0 (locked: {lock['jax']}), h5py missing (locked: {lock['h5py']}): ")


def test_doctor_says_which_packages_the_lock_has_lost():
    lock = doctor.locked((ROOT / "requirements.txt").read_text())
    lost = {name: version for name, version in lock.items() if name not in ("torch", "jax")}
    said = doctor.packages(lost, lock.get)
    assert said.startswith("requirements.txt does not name ") and "torch" in said and "git checkout" in said


def test_doctor_fits_one_screen_and_says_what_this_machine_can_run(capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = {line[:12].strip() for line in lines}
    assert len(lines) <= 24 and {"Python", "packages", "device", "disk", "SMAX", "StarCraft II", "study"} <= names
