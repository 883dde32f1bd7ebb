"""Every name that a person types is checked where it is used; errors are one line, and say what to do."""

import ast
import copy
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import papermill
import pytest
import torch
import yaml
from IPython.core.interactiveshell import InteractiveShell

from omac import paths
from omac.cli import main
from omac.cli import results as result_commands
from omac.config import names
from omac.config.hyper import load_params, of_policies, settings
from omac.data import hdf5
from omac.data.episodes import Episodes
from omac.datasets import registry
from omac.datasets.loaders import download
from omac.paths import ROOT, atomic
from omac.study import cell as study
from omac.study import prepare
from omac.study.grid import known_cells
from omac.training import trainer

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
LOWER = "Temperature parameter beta, lower"


@pytest.fixture
def edited(tmp_path):
    """Read params.yaml with one change: edited(section, key, ..., value)."""

    def read(*keys_and_value):
        *keys, last, value = keys_and_value
        params = copy.deepcopy(PARAMS)
        section = params
        for key in keys:
            section = section[key]
        section[last] = value
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        return load_params(tmp_path / "params.yaml")

    return read


def one_line(error):
    """Whether an error is one line, without the names of another library's classes."""
    return "\n" not in str(error.value) and "Errno" not in str(error.value)


# --- params.yaml


def test_params_yaml_as_it_is_and_lines_for_others_data_are_accepted(edited):
    params = edited("steps", "3m", {"medium": {"quick": 20_000}, "expert": None})
    assert settings(params, "quick", "3m", "medium")[0].steps == 20_000
    assert settings(params, "quick", "3m", "expert")[0].steps == PARAMS["profiles"]["quick"]["steps"]
    assert settings(params, "laptop", "corridor", "good")[0].beta == 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("steps", "6h_vs_8z", {"god": {"laptop": 4000}}), "steps of 6h_vs_8z: unknown level 'god'.*mean good"),
        (("steps", "coridor", {}), "steps: unknown map 'coridor'.*mean corridor"),
        (("steps", "corridor", "good", {"labtop": 1}), "steps of corridor good: unknown profile 'labtop'.*mean laptop"),
        (("steps", "corridor", "good", {"laptop": 4500}), "steps of corridor good: steps 4500 is no multiple"),
        (("steps", "corridor", "good", {"laptop": "many"}), "steps is 'many', a str; expected int"),
        (("steps", "corridor", ["good"]), "steps of corridor is .'good'.; it must be a mapping"),
        (("table_2", LOWER, "data sets", ["corridor-godd"]), "unknown data set 'corridor-godd'.*mean corridor-good"),
        (("table_2", LOWER, "data sets", "corridor-good"), "data sets is 'corridor-good'; it must be a list"),
        (("table_2", LOWER, "data set", []), "unknown key 'data set'.*mean data sets"),
        (("table_2", LOWER, "value", -1), "lower: beta is -1.0; it must be at least 0"),
        (("table_2", "Batch sise", 1), "table_2: unknown key 'Batch sise'.*mean Batch size"),
        (("open_points", "boostrap", "target"), "open_points: unknown setting 'boostrap'.*mean bootstrap"),
        (("variants", "tau_08", {"tua": 0.8}), "variant tau_08: unknown setting 'tua'.*mean tau"),
        (("variants", "tau_08", {"tau": float("nan")}), "variant tau_08: tau is nan; it must be above 0 and below 1"),
        (("variants", "tau_08", {"lr_value": float("inf")}), "lr_value is inf"),
        (("profiles", "laptop", "sedes", [0]), "profile laptop: unknown setting 'sedes'"),
        (("profiles", "laptop", {"steps": 1000}), "profile laptop: 'seeds' is missing"),
        (("profiles", "smoke", "data", {"sample_episode": 3}), "unknown key 'sample_episode'.*mean sample_episodes"),
        (("data", "held_out_episodes", -1), "data: held_out_episodes is -1; it must be a whole number, at least 0"),
        (("threads", 0), "threads is 0; it must be a whole number, at least 1"),
        (("threads", 2**40), "threads is 1099511627776; it must be a whole number, at least 1 and at most 4294967295"),
        (("data", "seed", 2**40), "data: seed is 1099511627776; it must be a whole number"),
        (("data", "pull_episodes", 999), "data: sample_episodes and held_out_episodes are .* of pull_episodes 999"),
        (("variants", "a/../b", {}), "variants: the name 'a/../b' is not made of letters"),
        (("profiles", "x/y", PARAMS["profiles"]["smoke"]), "profiles: the name 'x/y' is not made of letters"),
        (("profiles", 1, PARAMS["profiles"]["smoke"]), "profiles: the name 1 is not made of letters"),
        (("temperatures", "omac", "a b", {"beta": 3.0}), "temperatures of omac: the name 'a b' is not made of letters"),
        (("profile", "labtop"), "unknown profile 'labtop'.*mean laptop"),
        (("grit", {}), "unknown key 'grit'.*mean grid"),
        (("temperatures", "omca", {"published": {}}), "temperatures: unknown key 'omca'.*mean .*omac"),
        (("temperatures", "omac", {}), "temperatures of omac: one must be `published: {}`"),
        (("temperatures", "omac", {"beta_5": {"beta": 5.0}}), "temperatures of omac: one must be `published: {}`"),
        (("temperatures", "icq", "published", {"beta_policy": 0.2}), "of icq: one must be `published: {}`"),
        (("temperatures", "omac", "beta_5", {"bata": 5.0}), "temperature beta_5: unknown setting 'bata'.*mean beta"),
        (("temperatures", "omac", "beta_5", {"beta": -5.0}), "temperature beta_5: beta is -5.0; it must be at least 0"),
        (("temperatures", "omac", ["beta_5"]), "temperatures of omac is .'beta_5'.; it must be a mapping"),
        (("temperatures", "omac", "beta_5", 5.0), "temperatures of omac, beta_5 is 5.0; it must be a mapping"),
        (("open_points", "policy_steps", 4500), "steps 4500 is no multiple of eval_every 1000"),
        (("grid", "controls", {}), "grid, controls is {}; it must be a list of blocks"),
        (("grid", "cell", {}), "grid: unknown key 'cell'.*mean cells"),
        (("grid", "data", 0, "level", []), "grid, data, block 1: unknown key 'level'.*mean levels"),
        (("grid", "data", 0, "parts", [30]), "parts: unknown part '30'; there are 100, 50, 10, held"),
        (("grid", "controls", 0, "parts", ["held"]), "parts: unknown part 'held'; there are 100, 50, 10"),
        (("grid", "cells", "table_4", "parts", ["held"]), "parts: unknown part 'held'; there are 100, 50, 10"),
        (("grid", "cells", "table_4", "map", []), "grid, cells, table_4: unknown key 'map'.*mean maps"),
        (("grid", "cells", "table_4", "maps", ["6h_vs_8"]), "unknown map '6h_vs_8'.*mean 6h_vs_8z"),
        (("grid", "cells", "table_4", "levels", ["god"]), "unknown level 'god'.*mean good"),
        (("grid", "cells", "table_4", "levels", ["good", "good"]), "levels: good stands there twice"),
        (("grid", "cells", "table_4", "cells", ["omca"]), "unknown algorithm 'omca'.*mean .*omac"),
        (("grid", "cells", "table_4", "cells", ["omac-wo_cfv"]), "unknown variant 'wo_cfv'.*mean wo_cvf"),
        (("steps", "6h_vs_8z", {"good": {}, "poor": {}}), "steps has no line for 6h_vs_8z medium"),
    ],
)
def test_a_misspelt_name_or_a_bad_number_is_refused_when_params_yaml_is_read(edited, change, words):
    with pytest.raises(ValueError, match=words) as error:
        edited(*change)
    assert one_line(error) and "params.yaml" in str(error.value)


def test_the_published_temperature_comes_first_in_whatever_order_params_yaml_has_them(edited):
    params = edited("temperatures", "omac", {"beta_5": {"beta": 5.0}, "published": {}, "a": {"beta": 2.0}})
    hyper = settings(params, "smoke")[0]
    assert list(of_policies(params, "omac", hyper)) == ["published", "beta_5", "a"]


CELL = "smax-6h_vs_8z-poor-100-bc: {{dataset: {}, algorithm: {}, variant: {}}}"


@pytest.mark.parametrize(
    ("dataset", "algorithm", "variant", "words"),
    [
        ("smax-6h_vs_8z-poor-100", "bc", "default", None),
        ("smax-6h_vs_8z-good-100", "bc", "default", "is the name of a line that says smax-6h_vs_8z-good-100-bc"),
        ("smax-6h_vs_8z-poor-held", "bc", "default", "never trained on; take one of 100, 50, 10"),
        ("smax-6h_vs_8z-poor", "bc", "default", "is not <source>-<map>-<level>-<ratio>"),
        ("smax-6h_vs_8z-poor-100", "bcc", "default", "unknown algorithm 'bcc'"),
        ("smax-6h_vs_8z-poor-100", "bc", "top_10", "a line that says smax-6h_vs_8z-poor-100-bc-top_10"),
    ],
)
def test_a_line_of_cells_yaml_that_is_not_what_its_name_says_is_refused(dataset, algorithm, variant, words, tmp_path):
    path = tmp_path / "cells.yaml"
    path.write_text(f"cells:\n  {CELL.format(dataset, algorithm, variant)}\n")
    if words is None:
        assert list(known_cells(path)) == ["smax-6h_vs_8z-poor-100-bc"]
        return
    with pytest.raises(ValueError, match=f"cells.yaml: .*{words}.*omac grid` writes it anew") as error:
        known_cells(path)
    assert one_line(error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'table_2' is missing"),
        ("- 1\n", "it must be a mapping"),
        ("a: [1\n", "line 2: expected .,. or"),
        ("a: 1\nb: 2\na: 3\n", "line 3: 'a' stands here twice"),
        ("? [a]\n: 1\n", "line 1: found unhashable key"),
        ("a: 1\n<<<<<<< HEAD\na: 2\n", "line 2: a mark of an unfinished merge"),
        ("a: \x07\n", "is no YAML"),
        (b"a: \xff\n", "is no YAML"),
        ("a: " + "[" * 5000, "is no YAML"),
        ("a: 1\nb: 010\n", "line 2: '010' is a number in another notation: write it in decimals"),
        ("a: 1:30\n", "line 1: '1:30' is a number in another notation"),
        ("a: 1_0.5\n", "line 1: '1_0.5' is a number in another notation"),
        ("a: [0x10]\n", "line 1: '0x10' is a number in another notation"),
    ],
)
def test_a_params_yaml_that_is_no_yaml_is_one_line_with_the_place(tmp_path, text, words):
    path = tmp_path / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=words) as error:
        load_params(path)
    assert one_line(error) and str(path) in str(error.value)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is missing: restore it with `git checkout"):
        load_params(path)


def test_decimal_numbers_of_yaml_are_read_as_they_stand(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("[0, -3, +4, 0.5, -0.5, 1.e+3, 5.0e-4, .inf, -.inf]")
    assert names.read_yaml(path) == [0, -3, 4, 0.5, -0.5, 1000.0, 0.0005, float("inf"), -float("inf")]


@pytest.mark.parametrize("name", ["~", "3", "true", "../x", '"\\e[31m"', "[a]"])
def test_the_name_of_a_cell_is_a_text_that_names_a_file(name, tmp_path):
    line = CELL.format("smax-6h_vs_8z-poor-100", "bc", "default").replace(
        "smax-6h_vs_8z-poor-100-bc:", f"? {name}\n  :", 1
    )
    (tmp_path / "cells.yaml").write_text(f"cells:\n  {line}\n")
    with pytest.raises(ValueError, match="cells.yaml") as error:
        known_cells(tmp_path / "cells.yaml")
    assert one_line(error) and str(error.value).isprintable()


BAD_SEEDS = [[0, 0], [], 3, ["0", "1"], [0, 1.5], None, [True], [-1], [2**32], "012", {0: 1}]


@pytest.mark.parametrize("seeds", BAD_SEEDS, ids=repr)
def test_seeds_that_are_no_distinct_whole_numbers_are_refused_before_training(toy, tmp_path, monkeypatch, seeds):
    class Began(Exception):
        pass

    def begin(*_):
        raise Began

    monkeypatch.setattr(trainer.Trainer, "step", begin)
    monkeypatch.setattr(study, "BUILD", tmp_path / "build")
    toy.select(range(200)).save(tmp_path / "episodes" / "toy-line-random-100.h5")
    toy.select(range(200, 300), sample_of=300).save(tmp_path / "episodes" / "toy-line-random-held.h5")
    params = copy.deepcopy(PARAMS)

    def run():
        study.run_cell("toy-line-random-100", "bc", profile="smoke", params=params, folder=tmp_path, progress=False)

    params["profiles"]["smoke"]["seeds"] = [0, 2**32 - 1]
    with pytest.raises(Began):
        run()
    params["profiles"]["smoke"]["seeds"] = seeds
    with pytest.raises(ValueError, match="profile smoke: seeds are .*distinct whole numbers") as error:
        run()
    assert one_line(error)


# --- parameters of notebooks

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def until_the_first_work(path, tmp_path, **parameters):
    """Run a notebook as papermill would, up to and with the line that looks at its parameters."""
    papermill.execute_notebook(path, tmp_path / "o.ipynb", parameters, prepare_only=True, progress_bar=False)
    code = [c for c in json.loads((tmp_path / "o.ipynb").read_text())["cells"] if c["cell_type"] == "code"]
    tags = [c["metadata"].get("tags", []) for c in code]
    first = max(i for i, t in enumerate(tags) if {"parameters", "injected-parameters"} & set(t)) + 1
    shell = InteractiveShell()
    for cell in [*code[:first], {"source": code[first]["source"][:1]}]:
        shell.run_cell("".join(cell["source"]), store_history=True).raise_error()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_notebook_looks_at_its_parameters_before_any_work(path):
    code = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    after = code[[c["metadata"].get("tags") for c in code].index(["parameters"]) + 1]
    assert after["source"][0] == f'check_parameters(globals(), "{path.stem}")\n'


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), [("algoritm", "bc"), ("steps", 10), ("seeds", "[0]"), ("algorithm", "bc")])
def test_a_parameter_that_the_notebook_does_not_have_stops_it(name, value, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    path = ROOT / "notebooks" / "03_train.ipynb"
    if name == "algorithm":
        return until_the_first_work(path, tmp_path, **{name: value})
    with pytest.raises(ValueError, match=f"unknown parameter of 03_train '{name}'") as error:
        until_the_first_work(path, tmp_path, **{name: value})
    assert one_line(error) and ("did you mean algorithm" in str(error.value)) == (name == "algoritm")
    return None


def test_parameters_are_looked_at_in_papermills_last_cell_and_nowhere_else():
    injected = '# Parameters\nenv = "smax"\nlevel = "poor"\n'
    scope = {"In": ["", "import os", "mine = 1\nlevels = 2", "# parameters of mine\nother = 3"], "lever": 4}
    names.check_parameters(scope, "07_verdict")  # in JupyterLab, in nbval, and whatever else is defined
    names.check_parameters({"In": [""]}, "07_verdict")
    names.check_parameters({"In": [*scope["In"], "# Parameters\nlevle = 1", injected]}, "07_verdict")  # mended since
    with pytest.raises(ValueError, match="unknown parameter of 07_verdict 'levle'.*did you mean level"):
        names.check_parameters({"In": [injected, '# Parameters\nlevle = "poor"\n', "rows = 1"]}, "07_verdict")


VALUES = [
    ("09_tuning", "map_name", "coridor", "09_tuning: map_name: unknown map 'coridor'.*did you mean corridor"),
    ("06_analysis", "level", "god", "06_analysis: level: unknown level 'god'.*did you mean good"),
    ("06_analysis", "factorization", ["omac", "wo_cfv"], "unknown line of a figure 'wo_cfv'.*did you mean wo_cvf"),
    ("04_tables", "against", "omca", "unknown algorithm 'omca'"),
    ("04_tables", "profile", "labtop", "04_tables: profile: unknown profile 'labtop'.*did you mean laptop"),
    ("00_quickstart", "profile", "quik", "unknown profile 'quik'.*did you mean quick"),
    ("09_tuning", "env", "smaxx", "unknown environment 'smaxx'.*did you mean smax"),
    (
        "05_curves",
        "maps",
        "corridor",
        "maps is 'corridor'; it must be a list of at least one, each once, such as .'5m_vs_6m'",
    ),
    ("05_curves", "maps", [], "it must be a list of at least one"),
    ("05_curves", "ratios", [100, 30], "unknown part of a data set '30'; there are 100, 50, 10"),
    ("05_curves", "ratios", ["100"], "it must be a list of at least one, each once, such as .100, 50, 10."),
    ("05_curves", "ratios", [100, 100], "ratios is .100, 100.; it must be a list of at least one, each once"),
    ("02_method", "taus", [0.5, 1.0], "02_method: taus holds 1.0; an expectile is below 1"),
    ("01_data", "real", ["odis-8m"], "01_data: real: unknown data card 'odis-8m'.*did you mean odis-3m"),
    ("00_quickstart", "temperatures", ["bta_15"], "unknown temperature 'bta_15'.*did you mean beta_15"),
    ("03_train", "out", "data/results.csv", "data/results.csv is no place for the rows of a cell"),
    ("03_train", "out", "data/paper/claims.csv", "data/paper/claims.csv is no place for the rows of a cell"),
    ("03_train", "out", "README.md", "README.md: the name of the file to write must end in .csv"),
    ("03_train", "out", "figures", "figures is a folder; name the file to write"),
    ("02_method", "steps", 0, "steps is 0; it must be a whole number above 0, such as 300"),
    ("02_method", "games", 1.5, "games is 1.5; it must be a whole number above 0"),
    ("02_method", "games", True, "games is True; it must be a whole number above 0"),
    ("02_method", "beta", float("nan"), "beta is nan; it must be a number above 0"),
    ("03_train", "dataset", "smax-corridor-good-held", "is the part that is never trained on; take one of 100, 50, 10"),
    ("03_train", "temperatures", ["published"], "temperatures is .'published'.; it must be a text"),
    ("03_train", "out", 3, "out is 3; it must be a text, such as 'build/smoke/cell.csv'"),
]


@pytest.mark.parametrize(("notebook", "name", "value", "words"), VALUES)
def test_a_parameter_that_cannot_mean_anything_stops_a_notebook(notebook, name, value, words):
    with pytest.raises((ValueError, OSError), match=words) as error:
        names.check_parameters({"In": [""], name: value}, notebook)
    assert one_line(error)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_parameters_of_every_notebook_as_they_stand_are_accepted(path):
    scope = {"os": os}
    for cell in json.loads(path.read_text())["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            exec("".join(cell["source"]), scope)
    names.check_parameters({"In": [""], **scope}, path.stem)
    names.check_parameters({"In": [""], **scope, "beta": 2, "ratios": [50]}, path.stem)


def test_the_names_of_a_cell_are_looked_at_before_its_data_are_made():
    for change, words in (
        ({"algorithm": "omca"}, "unknown algorithm 'omca'.*did you mean .*omac"),
        ({"variant": "wo_cfv"}, "unknown variant 'wo_cfv'.*did you mean wo_cvf"),
        ({"profile": "labtop"}, "unknown profile 'labtop'.*did you mean laptop"),
        ({"device": "cdua"}, "device is 'cdua'; choose auto, cpu, cuda or cuda:<number>"),
        ({"algorithm": "bc", "variant": "wo_cvf"}, "bc does not read credit"),
    ):
        given = {"dataset": "smax-6h_vs_8z-medium-100", "algorithm": "omac", **change}
        with pytest.raises(ValueError, match=words):
            study.cell_settings(load_params(), **given)


def test_a_gpu_is_named_by_its_number_and_one_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(trainer.pick_device(x)) for x in ("auto", "cpu", "cuda", "cuda:1")] == ["cuda", "cpu", "cuda", "cuda:1"]
    with pytest.raises(ValueError, match="device is cuda:2, but torch sees 2 GPUs, from cuda:0 on"):
        trainer.pick_device("cuda:2")
    for name in ("cuda:", "cuda:x", "cpu:0", "gpu", "cuda:-1"):
        with pytest.raises(ValueError, match="choose auto, cpu, cuda or cuda:<number>"):
            trainer.pick_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device is cuda:0, but torch sees no GPU here"):
        trainer.pick_device("cuda:0")


# --- the command line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["behaviour", "nomap"], "unknown map of smax 'nomap'; there are 5m_vs_6m"),
        (["behaviour", "coridor"], "did you mean corridor?"),
        (["behaviour", "corridor", "--seeds", "0", "0"], "seeds are [0, 0]"),
        (["pull", "smax", "nomap", "good"], "unknown map of smax 'nomap'"),
        (["pull", "smax", "corridor", "god"], "unknown level 'god'; there are good, medium, poor: did you mean good?"),
        (["pull", "odsi", "3m", "medium"], "did you mean odis?"),
        (["pull", "ogmarl", "2s3zz", "good"], "did you mean 2s3z?"),
        (["subsample", "smax-corridor-god-100"], "did you mean good?"),
        (["subsample", "smax-corridor-good-30"], "ratio is 30 %"),
        (["steps", "values", "smax-corridor-good-held"], "never trained on; take one of 100, 50, 10"),
        (["weights", "smax-6h_vs_8z-poor-held"], "never trained on; take one of 100, 50, 10"),
        (["weights", "smax-coridor-poor-100"], "did you mean corridor?"),
        (["cards", "smax-coridor-poor-100"], "did you mean corridor?"),
        (["keep", "smax-6h_vs_8z-poor-100-bcc"], "smax-6h_vs_8z-poor-100-bc"),
        (["notebook", "04_table"], "did you mean 04_tables?"),
        (["study", "smax-6h_vs_8z-poer-100-bc"], "did you mean smax-6h_vs_8z-poor-100-bc"),
        (["steps", "values", "smax-corridor-god-100"], "did you mean good?"),
        (["controls", "smax-corridor-god-100"], "did you mean good?"),
        (["controls", "smax-corridor-good-100", "--profile", "labtop"], "unknown profile 'labtop'"),
        (["table", "nowhere.csv"], "nowhere.csv does not exist"),
        (["table", "omac"], "is a folder"),
        (["table", "README.md"], "README.md"),
        (["table", "figures/quick.png"], "figures/quick.png"),
        (["card", "README.md"], "it is not an HDF5 file"),
        (["check", "nowhere.h5"], "does not exist"),
        (["controls", "smax-6h_vs_8z-poor-held"], "is the part that is never trained on"),
    ],
    ids=" ".join,
)
def test_bad_words_on_the_command_line_end_in_one_line_with_the_nearest(words, said, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error and "Errno" not in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tabel", "x"], "did you mean table or tables?"),
        (["study", "--jobs", "0"], "'0' is not a whole number above 0"),
        (["study", "--jobs", "²"], "'²' is not a whole number above 0"),
        (["pull", "smax", "corridor", "good", "--episodes", "9" * 12], "is not a whole number above 0, at most"),
        (["verify", "--jobs", "1" * 5000], "is not a whole number above 0, at most"),
        (["behaviour", "corridor", "--seeds", "²"], "'²' is not a seed, a whole number from 0 on"),
        (["steps", "value", "x"], "unknown curve 'value'; there are values, cloning: did you mean values?"),
        (["behaviour", "corridor", "--seeds", "-1"], "error: "),
        (["table"], "required: file"),
        ([], "required: command"),
    ],
)
def test_words_that_mean_no_command_end_in_one_line_and_code_2(words, said, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count("\n") == 1 and said in error


def test_help_lists_the_maps_and_the_levels(capsys):
    for words in (["--help"], ["pull", "--help"], ["behaviour", "--help"]):
        with pytest.raises(SystemExit):
            main(words)
        said = " ".join(capsys.readouterr().out.split())
        assert "5m_vs_6m, 6h_vs_8z, 3s5z_vs_3s6z, corridor" in said
        assert "good, medium, poor" in said or words[0] == "behaviour"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("return_mean"), "KeyError: 'return_mean': unexpected; the traceback is in build/logs/table.log"),
        (MemoryError("Unable to allocate 3.64 TiB"), "not enough memory (Unable to allocate 3.64 TiB): end other"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes"), "not enough memory"),
        (pd.errors.EmptyDataError("No columns to parse"), "No columns to parse"),
        (ModuleNotFoundError("No module named 'h5py'"), "a package is missing or broken (No module named 'h5py')"),
        (OSError(28, "No space left on device"), "a disk is full"),
        (PermissionError(13, "denied", str(ROOT / "dvc.lock")), "dvc.lock may not be read or written here"),
        (ValueError("two\n  lines"), "two lines"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_an_error_of_any_library_is_one_line_of_ours(error, said, capsys, monkeypatch):
    def run(args):
        raise error

    monkeypatch.setattr(result_commands, "table", run)
    run.__name__ = "table"
    assert main(["table", "x"]) == 1
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and text.startswith("error: ") and said in text
    if "build/logs" in said:
        assert "Traceback" in (ROOT / "build" / "logs" / "table.log").read_text()


def test_an_interruption_ends_with_code_130_and_a_reader_that_left_with_no_traceback(monkeypatch, capsys):
    def run(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(result_commands, "table", run)
    run.__name__ = "table"
    assert main(["table", "x"]) == 130 and capsys.readouterr().err.count("\n") == 1
    words = f"{sys.executable} -m omac table {ROOT}/data/quick/results.csv | head -0"
    done = subprocess.run(["bash", "-c", words], cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.slow
def test_the_papermill_lines_of_the_pages_work_on_a_fresh_clone(tmp_path):
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    lines = [x for page in pages for x in page.read_text().splitlines() if re.match(r"papermill .*ipynb", x)]
    assert len(lines) >= 2
    tracked = subprocess.run(["git", "ls-files", "notebooks", "build"], cwd=ROOT, capture_output=True, text=True).stdout
    for name in tracked.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for line in lines:
        words = [sys.executable, "-m", *shlex.split(line), "--prepare-only"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 and "unknown parameter" not in done.stderr, done.stderr


# --- where the project is


def package_copy(to):
    """The package and what names a checkout, in another folder."""
    for name in ("dvc.yaml", "pyproject.toml", "params.yaml", "cells.yaml"):
        to.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, to / name)
    shutil.copytree(ROOT / "omac", to / "omac", ignore=shutil.ignore_patterns("__pycache__"))
    return to


@pytest.mark.parametrize("other", ["", "[project", '[project]\nname = "another"\n', "project = 3\n", "\xff"])
def test_another_project_of_dvcs_is_not_taken_for_this_one(tmp_path, other):
    folder = tmp_path / "other" / "sub"
    folder.mkdir(parents=True)
    (folder.parent / "dvc.yaml").write_text("stages: {}\n")
    (folder.parent / "params.yaml").write_text("lr: 0.1\n")
    (folder.parent / "pyproject.toml").write_bytes(other.encode("latin-1"))
    assert paths.find_root(folder) == ROOT
    (folder.parent / "pyproject.toml").write_text('[project]\nname = "omac"\n')
    assert paths.find_root(folder) == folder.parent
    (folder.parent / "dvc.yaml").unlink()
    assert paths.find_root(folder) == ROOT


def test_a_package_outside_any_checkout_says_so_in_one_line(tmp_path):
    shutil.copytree(ROOT / "omac", tmp_path / "omac", ignore=shutil.ignore_patterns("__pycache__"))
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "omac", "results"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "is a checkout of this project" in done.stderr


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b", "a b", "ä+&"])
def test_a_checkout_in_a_folder_of_any_name_works(tmp_path, name):
    root = package_copy(tmp_path / name)
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-m", "omac", "grid"], cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == f"cells.yaml: {len(known_cells())} cells\n", done.stderr
    assert (root / "cells.yaml").read_text() == (ROOT / "cells.yaml").read_text()


def test_a_relative_mirror_is_the_same_folder_in_a_shell_and_in_a_notebook(monkeypatch, tmp_path):
    monkeypatch.setenv("OMAC_MIRROR", "some/mirror")
    found = []
    for folder in (ROOT, ROOT / "notebooks", tmp_path):
        monkeypatch.chdir(folder)
        found.append(download.mirror())
    assert set(found) == {ROOT / "some" / "mirror"}
    for value in ("file:///data/a%23b", "file:///data/a#b", "/data/a#b"):
        monkeypatch.setenv("OMAC_MIRROR", value)
        assert download.mirror() == Path("/data/a#b")
    monkeypatch.setenv("OMAC_MIRROR", "/data/a%23b?c")
    assert download.mirror() == Path("/data/a%23b?c")


# --- copies that are out of date


def test_a_small_profile_trains_on_what_was_pulled_last(toy, tmp_path, monkeypatch):
    """Data that others recorded lie once, in data/, whatever the profile."""
    monkeypatch.setattr(prepare, "ROOT", tmp_path)
    monkeypatch.setenv("OMAC_MIRROR", str(tmp_path))
    data = {"pull_episodes": 1, "sample_episodes": 60, "held_out_episodes": 20, "seed": 0}
    seen = []
    for first in (0, 100):
        toy.select(range(first, first + 100)).save(tmp_path / "own" / "line" / "random" / "a.h5")
        prepare.pull("own", "line", "random", 1, 0, tmp_path / "data")
        path = prepare.ensure("own-line-random-100", {"data": data}, tmp_path / "data" / "smoke")
        seen.append(Episodes.load(path).returns.sum())
    other = toy.select(range(100, 200))
    other = replace(other, state=other.state + np.float32(0.01))  # which no digest of the data looks at
    other.save(tmp_path / "own" / "line" / "random" / "a.h5")
    prepare.pull("own", "line", "random", 1, 0, tmp_path / "data")
    prepare.ensure("own-line-random-100", {"data": data}, tmp_path / "data" / "smoke")
    assert Episodes.load(path).state.min() == other.state.min() != toy.state.min()
    raw = registry.DataSet("own", "line", "random").raw_path(tmp_path / "data")
    assert seen[0] != seen[1] and raw.exists() and not (tmp_path / "data" / "smoke" / "raw").exists()


# --- files are written whole or not at all


def test_two_writers_with_one_process_number_each_finish(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 7)
    out = tmp_path / "out.csv"
    with atomic(out) as first:
        first.write_text("a" * 50)
        with atomic(out) as second:
            second.write_text("b" * 40)
        assert out.read_text() == "b" * 40 and first != second
        first.write_text("a" * 100)
    assert out.read_text() == "a" * 100 and list(tmp_path.iterdir()) == [out]


def test_what_a_killed_writer_leaves_is_seen_by_neither_git_nor_dvc():
    with atomic(ROOT / "data" / "results" / "x.csv") as part:
        part.touch()
        seen = subprocess.run(["git", "status", "--short"], cwd=ROOT, capture_output=True, text=True).stdout
        assert part.name not in seen and "*.part" in (ROOT / ".dvcignore").read_text().splitlines()
        part.rename(part.with_suffix(".gone"))
        part.with_suffix(".gone").rename(part)
        part.write_text("x")
    (ROOT / "data" / "results" / "x.csv").unlink()


def to_torch(path):
    torch.save({"x": torch.zeros(100_000)}, path)


def to_hdf5(path):
    with h5py.File(path, "w") as f:
        f["x"] = np.zeros(100_000)


WRITERS = {
    "Python": lambda path: path.write_text("x" * 100_000),
    "pandas": lambda path: pd.DataFrame({"x": range(50_000)}).to_csv(path),
    "torch": to_torch,
    "matplotlib": lambda path: __import__("matplotlib.image").image.imsave(path, np.ones((99, 99, 3)), format="png"),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_called_that_whoever_writes_and_the_old_file_stays(tmp_path, writer):
    out = tmp_path / "out"
    out.write_text("old")

    def write():
        with atomic(out) as part:
            part.symlink_to("/dev/full")
            WRITERS[writer](part)

    with pytest.raises(
        paths.DiskFull, match="out cannot be written: the disk of .* is full .* make room there"
    ) as error:
        write()
    assert one_line(error) and out.read_text() == "old" and list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "Driver write request failed (file write failed, errno = 28, 'No space left on device')"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
        OSError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["HDF5", "torch", "safetensors"],
)
def test_the_words_of_each_library_for_a_full_disk_are_known(tmp_path, error):
    def write():
        with atomic(tmp_path / "out"):
            raise error

    with pytest.raises(paths.DiskFull, match="is full"):
        write()
    with pytest.raises(RuntimeError, match="something else"), atomic(tmp_path / "out"):
        raise RuntimeError("something else")


def test_episodes_are_not_begun_where_the_disk_has_no_room_for_them(toy, tmp_path, monkeypatch):
    """The disk is the target's, whatever the other is."""
    asked = []

    def usage(folder):
        asked.append(Path(folder))
        return shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(
        paths.DiskFull, match=r"a.h5 cannot be written: the disk of .*target is full \(0.0 MiB free, [0-9.]+ needed\)"
    ):
        toy.save(tmp_path / "target" / "a.h5")
    assert set(asked) == {tmp_path / "target"} and not list((tmp_path / "target").iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["table", "a\nb\x1b[31m.csv"], "a b [31m.csv does not exist"),
        (["check", "\x1b]0;title\x07.h5"], "]0;title .h5: file: does not exist"),
        (["table", "x" * 300], ": File name too long"),
        (["card", "x" * 5000], ": File name too long"),
        (["import", "x" * 300, "--layout", "hdf5"], ": File name too long"),
        (["notebook", "notebooks/04_tables"], "unknown notebook 'notebooks/04_tables'; there are 10"),
    ],
    ids=lambda x: "",
)
def test_a_name_that_somebody_made_up_stays_one_line_and_moves_no_cursor(words, said, capsys):
    assert main(words) == 1
    error = capsys.readouterr().err
    assert error[:-1].isprintable() and error.endswith("\n") and said in error and len(error) < 1_000
    assert "Errno" not in error


def test_a_card_prints_no_codes_of_a_terminal_and_no_endless_line(toy, tmp_path, capsys):
    """What a stranger's file says of itself may be anything."""
    told = {"note": "\x1b[31mred\x07", "conversion": "two\nlines " + "x" * 100_000}
    replace(toy, about={**toy.about, **told}).save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as f:
        f.attrs["note"] = r'"\u001b[31mred \ud800 half a letter"'
        hdf5.seal_attributes(f)
    assert main(["card", str(tmp_path / "a.h5")]) == 0
    said = capsys.readouterr().out
    assert " [31mred   half a letter" in said and "two lines xxx" in said and len(said) < 10_000
    assert all(line.isprintable() for line in said.splitlines())


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no devices")
@pytest.mark.parametrize("command", ["check", "card", "table", "import"])
@pytest.mark.parametrize("kind", ["a device", "a pipe", "a socket"])
def test_what_is_no_file_and_need_not_end_is_not_read(command, kind, tmp_path, capsys):
    path = tmp_path / "x"
    with socket.socket(socket.AF_UNIX) as s:
        if kind == "a socket":
            s.bind(str(path))
        elif kind == "a pipe":
            os.mkfifo(path)
        else:
            path = Path("/dev/zero")
        more = ["--layout", "pymarl", "--env", "e", "--map", "m", "--level", "l", "--policies", "p"]
        assert main([command, str(path), *(more if command == "import" else [])]) == 1
    said = capsys.readouterr().err
    assert said == f"error: {path} is {kind}; a file is needed\n"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/dev/null", "/dev/null is a device; a file is needed"),
        ("", "is a folder; name the file to write"),
        ("file/x", "file is a file; a folder is needed"),
        ("file/a/b/x", "file is a file; a folder is needed"),
    ],
)
def test_nothing_is_written_in_the_place_of_what_is_no_file(place, said, tmp_path):
    """A device would be a file from then on, for every program of the machine."""
    (tmp_path / "file").write_text("old")
    begun = []
    with pytest.raises(OSError, match=said) as error, atomic(tmp_path / place):
        begun.append(1)
    assert not begun and one_line(error) and (tmp_path / "file").read_text() == "old"
    assert Path("/dev/null").is_char_device()


def test_a_misspelt_variable_of_the_environment_is_named_with_the_nearest(monkeypatch, capsys):
    """Else a mirror that somebody names is not asked, without a word."""
    monkeypatch.setenv("OMAC_MIROR", "/data")
    assert main(["code"]) == 1
    said = capsys.readouterr().err
    assert "unknown variable 'OMAC_MIROR'" in said and "did you mean OMAC_MIRROR" in said and said.count("\n") == 1
    with pytest.raises(ValueError, match="OMAC_MIROR"):
        names.check_parameters({"In": []}, "03_train")


def test_every_variable_that_the_project_reads_is_known():
    texts = [*(ROOT / "omac").rglob("*.py"), *(ROOT / "notebooks").glob("*.ipynb"), ROOT / "Makefile"]
    used = {name for path in texts for name in re.findall(r"\bOMAC_[A-Z0-9_]+\b", path.read_text())}
    assert used == set(names.VARIABLES)


FILLED = """
import errno, resource, signal, sys
import numpy as np
from omac import paths
from omac.data.episodes import Episodes
data = Episodes.load(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # as a quota that is met half way
paths.FULL.add(errno.EFBIG)
try:
    data.save(sys.argv[2])
except paths.DiskFull as e:
    print(e)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no limits of resources")
def test_a_disk_that_fills_up_under_episodes_crashes_nothing_at_the_end_of_the_process(toy, tmp_path):
    """HDF5 tells of a full disk in many lines and crashes when the process ends, if it is HDF5 that meets it."""
    toy.save(tmp_path / "a.h5")
    words = [sys.executable, "-c", FILLED, tmp_path / "a.h5", tmp_path / "b.h5"]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "b.h5 cannot be written: the disk of" in done.stdout and done.stdout.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_no_check_of_a_setting_hides_in_the_code_as_a_number_close_to_another():
    for name in ("hyper", "params"):
        tree = ast.parse((ROOT / "omac" / "config" / f"{name}.py").read_text())
        numbers = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, float)]
        assert not [x for x in numbers if x != round(x, 4)]
