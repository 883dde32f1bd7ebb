"""The release archive and the suite's description for machines: whole, reproducible, and valid by MLCommons' own reader."""

import hashlib
import json
import zipfile

import h5py
import numpy as np
import pytest

from omac.cli import main
from omac.data.episodes import Episodes
from omac.datasets import cards, digest
from omac.datasets.croissant import SUITE, TABLE, describe_suite, suite_table
from omac.datasets.registry import digest_path
from omac.datasets.release import write_release
from omac.schema import CARDS

NAMES = ("toy-line-good", "toy-line-poor")


@pytest.fixture
def folder(toy, tmp_path):
    """A data folder with two raw data sets, their digests and their cards."""
    parts = {"good": toy.select(range(150), level="good"), "poor": toy.select(range(150, 300), level="poor")}
    for level, part in parts.items():
        path = tmp_path / "raw" / f"toy-line-{level}.h5"
        part.save(path)
        digest.write(digest.of(Episodes.load(path)), digest_path(f"toy-line-{level}", tmp_path))
    cards.write_cards(parts, tmp_path / "cards")
    return tmp_path


def test_the_archive_has_every_file_with_its_checksum_and_the_same_bytes_twice(folder, tmp_path):
    first, second = (write_release(NAMES, folder, tmp_path / x / "suite.zip") for x in "ab")
    assert first.read_bytes() == second.read_bytes()
    said = first.with_suffix(".zip.sha256").read_text().split()
    assert said == [hashlib.sha256(first.read_bytes()).hexdigest(), "suite.zip"]
    with zipfile.ZipFile(first) as z:
        assert z.testzip() is None
        held = {name.removeprefix("suite/"): z.read(name) for name in z.namelist()}
    assert {"LICENSE", "CITATION.cff", "README.md", "croissant.json", TABLE, "cards/toy-line.csv"} <= set(held)
    assert {f"{x}/{n}.{e}" for n in NAMES for x, e in (("raw", "h5"), ("digests", "txt"))} <= set(held)
    sums = dict(reversed(line.split("  ")) for line in held["SHA256SUMS"].decode().splitlines())
    assert sums == {k: hashlib.sha256(v).hexdigest() for k, v in held.items() if k != "SHA256SUMS"}
    assert held["raw/toy-line-good.h5"] == (folder / "raw" / "toy-line-good.h5").read_bytes()
    assert "toy-line-good: 150 episodes" in held["README.md"].decode()
    assert not list(first.parent.glob(".*"))


def test_an_archive_of_other_data_than_the_digests_is_not_written(folder, toy, tmp_path):
    toy.select(range(10), level="poor").save(folder / "raw" / "toy-line-poor.h5")
    with pytest.raises(ValueError, match="toy-line-poor is not the data set of"):
        write_release(NAMES, folder, tmp_path / "out" / "suite.zip")
    assert not (tmp_path / "out").exists()


def valid(folder, names, data):
    """Write the suite's description to a folder; mlcroissant's Dataset of it, which raises for what is invalid."""
    croissant = pytest.importorskip("mlcroissant", reason="mlcroissant, which validates Croissant, is not installed")
    table = suite_table(names, data)
    content = table.to_csv(index=False).encode()
    (folder / TABLE).write_bytes(content)
    files = {TABLE: (len(content), hashlib.sha256(content).hexdigest())}
    (folder / "croissant.json").write_text(json.dumps(describe_suite(table, files, "2026-01-01")))
    found = croissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert not found.metadata.issues.errors and not found.metadata.issues.warnings
    return table, found


@pytest.mark.slow
def test_mlcroissant_validates_the_description_of_the_committed_suite_and_reads_its_records(tmp_path):
    from omac.paths import ROOT

    table, found = valid(tmp_path, SUITE, ROOT / "data")
    records = list(found.records(record_set="data_sets"))
    assert [r["data_sets/name"].decode() for r in records] == list(SUITE) and len(SUITE) == 12
    assert [r["data_sets/digest"].decode() for r in records] == list(table["digest"])
    np.testing.assert_allclose([r["data_sets/return_mean"] for r in records], table["return_mean"])


@pytest.mark.slow
def test_mlcroissant_validates_the_description_in_an_archive(folder, tmp_path):
    croissant = pytest.importorskip("mlcroissant", reason="mlcroissant, which validates Croissant, is not installed")
    with zipfile.ZipFile(write_release(NAMES, folder, tmp_path / "out" / "suite.zip")) as z:
        z.extractall(tmp_path / "there")
    found = croissant.Dataset(jsonld=str(tmp_path / "there" / "suite" / "croissant.json"))
    assert not found.metadata.issues.errors
    listed = {x.id: x.sha256 for x in found.metadata.distribution}
    for name in NAMES:
        path = tmp_path / "there" / "suite" / "raw" / f"{name}.h5"
        assert listed[f"raw/{name}.h5"] == hashlib.sha256(path.read_bytes()).hexdigest()
        with h5py.File(path) as f:
            assert len(f["win"]) == 150
    assert [r["data_sets/joint_saco"] for r in found.records(record_set="data_sets")][0] > 0


def test_the_suite_is_what_the_cards_of_smax_are_of():
    assert {n.rsplit("-", 1)[0] for n in SUITE} == {n for n in CARDS if n.startswith("smax")}


def test_a_data_set_or_layout_that_does_not_exist_is_named_by_export(capsys):
    for words in (["smax-6h_vs_8z-god", "--layout", "vault"], ["smax-6h_vs_8z-poor", "--layout", "vualt"]):
        assert main(["export", *words]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "did you mean good?" in said[0] and "did you mean vault?" in said[1]
