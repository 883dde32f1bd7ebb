"""One flipped bit anywhere between a policy and a table is found, and said in one line with the remedy."""

import os
import shutil
import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch

from omac import files, paths
from omac.behaviour import levels
from omac.files import checked_bytes, read_rows, read_table, record_sums, seal, unseal, write_csv
from omac.paths import ROOT
from omac.training import trainer
from omac.training.checkpoint import read_checkpoint, write_checkpoint

FLIPS = 60


def flipped(content, seed):
    """`content` with one bit turned."""
    rng = np.random.default_rng(seed)
    at, bit = rng.integers(len(content)), 1 << rng.integers(8)
    return content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]


def test_a_sealed_text_comes_back_and_any_flipped_bit_is_found():
    content = seal(b"a,b\n1,2\n")
    assert unseal(content, "x.csv") == b"a,b\n1,2\n"
    for at in range(len(content)):
        for bit in range(8):
            with pytest.raises(ValueError, match="x.csv") as e:
                unseal(content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :], "x.csv")
            assert "\n" not in str(e.value) and "git checkout" in str(e.value)


def test_a_text_without_its_last_line_is_refused():
    with pytest.raises(ValueError, match="does not end in a line `# sha256 ...`"):
        unseal(b"a,b\n1,2\n", "x.csv")


@pytest.mark.parametrize(
    "name",
    ["results.csv", "steps/smax-6h_vs_8z-poor-100-values.csv", "quick/results.csv", "cards/smax-6h_vs_8z.csv",
     "behaviour/smax-6h_vs_8z.csv", *(f"results/{f.name}" for f in sorted((ROOT / "data" / "results").glob("*.csv"))[:1])],
)  # fmt: skip
def test_a_flipped_bit_of_a_committed_table_is_found(name, tmp_path):
    content, file = (ROOT / "data" / name).read_bytes(), tmp_path / "flipped.csv"
    for seed in range(FLIPS):
        file.write_bytes(flipped(content, seed))
        with pytest.raises(ValueError, match="flipped.csv"):
            read_table(file)
    file.write_bytes(content)
    read_table(file)


@pytest.mark.parametrize("name", ["behaviour/smax-5m_vs_6m.safetensors", "paper/table4.csv", "paper/claims.csv"])
def test_a_flipped_bit_of_a_listed_file_is_found(name, tmp_path):
    shutil.copy(ROOT / "data" / name.split("/")[0] / "SHA256SUMS", tmp_path)
    content, file = (ROOT / "data" / name).read_bytes(), tmp_path / name.split("/")[1]
    for seed in range(FLIPS):
        file.write_bytes(flipped(content, seed))
        with pytest.raises(ValueError, match="git checkout"):
            checked_bytes(file)
    file.write_bytes(content)
    assert checked_bytes(file) == content


def test_behaviour_policies_that_are_not_the_measured_ones_do_not_fight(tmp_path):
    source = levels.snapshot_path("smax", "5m_vs_6m")
    shutil.copy(source.parent / "SHA256SUMS", tmp_path)
    (tmp_path / source.name).write_bytes(flipped(source.read_bytes(), 0))
    with pytest.raises(ValueError, match="python -m omac behaviour 5m_vs_6m"):
        levels.load_level("smax", "5m_vs_6m", "poor", tmp_path)


def test_every_listed_file_is_there_and_every_file_that_needs_a_sum_is_listed():
    for folder, pattern in (("behaviour", "*.safetensors"), ("paper", "*.csv"), ("policies", "*.safetensors")):
        for file in (ROOT / "data" / folder).glob(pattern):
            checked_bytes(file)


def test_sums_keep_the_other_files_lines_and_drop_those_of_files_that_are_gone(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name)
    record_sums(tmp_path / "a", tmp_path / "b")
    (tmp_path / "a").unlink()
    record_sums(tmp_path / "b")
    assert [line.split()[1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()] == ["b"]
    with pytest.raises(ValueError, match="is not listed in"):
        (tmp_path / "c").write_text("c")
        checked_bytes(tmp_path / "c")


def test_two_that_write_sums_at_once_lose_no_line(tmp_path, monkeypatch):
    """Each reads the list, adds its own lines and writes it: of two at once, the later would drop the other's."""
    for name in "abc":
        (tmp_path / name).write_text(name)
    record_sums(tmp_path / "a")
    read, both = files._read, threading.Barrier(2)
    monkeypatch.setattr(files, "_read", lambda sums: (read(sums), time.sleep(0.2))[0])
    monkeypatch.setattr(paths, "WAIT", 0.02)

    def record(name):
        both.wait()
        record_sums(tmp_path / name)

    threads = [threading.Thread(target=record, args=name) for name in "bc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [line.split()[1] for line in (tmp_path / "SHA256SUMS").read_text().splitlines()] == ["a", "b", "c"]


@pytest.mark.slow
@pytest.mark.parametrize("finished", [True, False])
def test_a_flipped_checkpoint_is_refused_finished_or_half_way(finished, toy, small, tmp_path, monkeypatch):
    path, step = tmp_path / "a.pt", trainer.Trainer.step

    def stop(self, number, phase):
        if number == 25 and not finished:
            raise KeyboardInterrupt
        return step(self, number, phase)

    monkeypatch.setattr(trainer.Trainer, "step", stop)
    try:
        trainer.train(toy, "bc", small, [0, 1], checkpoint=path, progress=False)
    except KeyboardInterrupt:
        assert not finished
    content = path.read_bytes()
    for seed in range(FLIPS):
        path.write_bytes(flipped(content, seed))
        with pytest.raises(ValueError, match="cannot be read.*delete it to begin anew"):
            trainer.train(toy, "bc", small, [0, 1], checkpoint=path, progress=False)


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    write_checkpoint(tmp_path / "a.pt", {"x": torch.arange(3), "n": [1, "two"]})
    back = read_checkpoint(tmp_path / "a.pt")
    assert back["n"] == [1, "two"] and torch.equal(back["x"], torch.arange(3))
    assert torch.load(tmp_path / "a.pt", weights_only=True)["n"] == [1, "two"]  # the seal is no obstacle


def test_a_program_in_a_checkpoint_is_refused_and_never_runs(tmp_path):
    """A seal tells damage, and no stranger: whoever makes a file can seal it."""

    class Call:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    write_checkpoint(tmp_path / "a.pt", {"x": Call()})
    with pytest.raises(ValueError, match="a.pt cannot be read"):
        read_checkpoint(tmp_path / "a.pt")
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_without_a_seal_is_refused_with_the_remedy(tmp_path):
    torch.save({"n": 1}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="a.pt cannot be read.*delete it to begin anew"):
        read_checkpoint(tmp_path / "a.pt")


ROW = {"env": "smax", "map": "5m_vs_6m", "level": "good", "ratio": 100, "algorithm": "bc", "variant": "", "profile": "quick", "seed": 0,
       "temperature": "published", "step": 5, "kind": "final", "episodes": 3, "return_mean": 7.0, "return_std": 1.0, "win_rate": 0.5,
       "length": 9.0, "simulator": "s", "L_pi": 0.5}  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value"),
    [("env", "smax "), ("env", "smaz"), ("map", "6h_vs_9z"), ("kind", "fimal"), ("level", "medjum"), ("algorithm", "omax"), ("algorithm", "data"),
     ("variant", "wo_ccf"), ("profile", "lbptop"), ("return_mean", 20.5), ("return_std", -0.1), ("L_pi", "1.5.2"),
     ("L_pi", np.inf), ("length", 1e6), ("ratio", 0), ("seed", 1.5), ("step", -1), ("episodes", -3), ("return_mean", 1e30),
     ("return_mean", "high"), ("win_rate", 1.2), ("length", -1), ("step", 1e30), ("episodes", 1e15)],
)  # fmt: skip
def test_a_row_that_cannot_be_is_named_by_line_column_and_value(column, value, tmp_path):
    file = write_csv(pd.DataFrame([ROW, {**ROW, column: value}]), tmp_path / "rows.csv")
    with pytest.raises(ValueError, match=rf"rows.csv, line 3: {column} is .*cannot be") as e:
        read_rows(file)
    assert "\n" not in str(e.value)


LINE = ",".join(map(str, ROW.values()))
HEAD = ",".join(ROW)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is no table .No columns"),
        (f"{HEAD}\n{LINE}\n{LINE},1\n", "is no table .Error tokenizing"),
        (f"{HEAD},seed\n{LINE},1\n", "is no table .the column 'seed' stands there twice"),
        (f"{HEAD}\n{LINE}\n".encode("utf-16"), "is no table .'utf-8' codec"),
        (f"{HEAD}\n", "has no rows"),
        (f"{HEAD}\n{LINE.replace('smax', '9' * 100_000, 1)}\n", "line 2: env is '999.* which cannot be"),
        (
            f"{HEAD}\n{LINE.replace(ROW['profile'], ROW['profile'] + chr(27) + '[31m')}\n",
            "line 2: profile is .*x1b.* which cannot be",
        ),
    ],
    ids=range(7),
)
def test_a_sealed_file_that_is_no_table_of_rows_is_named_in_one_short_line(content, words, tmp_path):
    """The libraries below name no file, and one that is named twice would be read as two columns."""
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "rows.csv").write_bytes(files.seal(content))
    with pytest.raises(ValueError, match=f"rows.csv,? .*{words}") as e:
        read_rows(tmp_path / "rows.csv")
    assert "\n" not in str(e.value) and len(str(e.value)) < 500 and str(e.value).isprintable()


def test_two_sums_of_one_file_are_refused(tmp_path):
    (tmp_path / "a").write_text("a")
    sums = files.record_sums(tmp_path / "a")
    sums.write_text(sums.read_text() * 2)
    assert files.checked_bytes(tmp_path / "a") == b"a"  # said twice
    sums.write_text(f"{'0' * 64}  a\n{sums.read_text()}")
    with pytest.raises(ValueError, match="SHA256SUMS, line 2: another sha256 of a: `git checkout"):
        files.checked_bytes(tmp_path / "a")
    for name in ("../a", "/a", "b/../a", ".", ""):
        sums.write_text(f"{'0' * 64}  {name}\n")
        with pytest.raises(ValueError, match="SHA256SUMS, line 1: .* is no sha256 and file name"):
            files.check_sums(sums)


def test_rows_as_they_are_written_pass(tmp_path):
    own = {**ROW, "kind": "data", "algorithm": "data", "seed": None, "step": None}
    none = {**ROW, "episodes": 0, "return_mean": None, "win_rate": None, "length": None, "simulator": "none"}
    other = [{**row, "env": "mpe", "map": "simple_spread"} for row in (none, {**own, "return_mean": -500})]
    third = {**none, "map": "3m"}
    assert len(read_rows(write_csv(pd.DataFrame([ROW, own, none, *other, third]), tmp_path / "rows.csv"))) == 6
    foreign = {**ROW, "env": "smac", "map": "3m", "level": "expert", "return_mean": 25.0}
    value = {**ROW, "kind": "value", "episodes": None, "return_mean": None, "win_rate": None, "length": None}
    assert len(read_rows(write_csv(pd.DataFrame([foreign, value]), tmp_path / "rows.csv"))) == 2
