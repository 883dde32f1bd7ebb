"""The benchmark that flips bits: it still runs, and the committed table says what it must."""

import re
import sys

import pytest

from omac.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import faults  # noqa: E402

pytestmark = pytest.mark.slow

BARE = {"PyMARL's HDF5, plain", "MADT's pickle, plain"}  # no checksum anywhere in the file
SOUND = {"refused", "nothing changed"}


@pytest.mark.parametrize("kind", faults.KINDS)
def test_a_flipped_bit_is_refused_in_one_line_or_changes_nothing(kind):
    if "Vault" in kind:
        pytest.importorskip("tensorstore", reason="tensorstore is not installed")
    found = {outcome for outcome, _ in faults.flips(kind, 12, seed=1)}
    assert found <= SOUND | ({"other numbers"} if kind in BARE else set())


def test_a_reader_that_crashes_or_hangs_is_counted_and_the_rest_goes_on(monkeypatch, tmp_path):
    script = tmp_path / "faults.py"
    lines = (ROOT / "benchmarks" / "faults.py").read_text()
    ends = 'def _become(read, folder, path, sound):\n    os.abort() if sound.pop("id", None) is None else None\n'
    script.write_text(lines.replace("def _become(read, folder, path, sound):\n", ends))
    monkeypatch.setattr(faults, "__file__", str(script))
    found = [outcome for outcome, _ in faults.flips("our own HDF5", 4)]
    assert "crash" in found and len(found) == 4


def test_the_committed_table_has_every_kind_of_file_and_none_was_accepted_silently():
    text = faults.PAGE.read_text()
    table = text.split(faults.MARKS[0])[1].split(faults.MARKS[1])[0]
    head, _, *rows = [[c.strip() for c in line.split("|")[1:-1]] for line in table.strip().splitlines()]
    found = {row[0]: dict(zip(head[1:], map(int, row[1:]), strict=True)) for row in rows}
    assert set(found) == set(faults.KINDS)
    for kind, row in found.items():
        assert row["flips"] >= 200 and row["flips"] == sum(v for k, v in row.items() if k != "flips")
        assert not sum(row[k] for k in ("several lines", "traceback", "crash", "hang"))
        assert kind in BARE or not row["other numbers"]
    assert re.search(r"\| our own HDF5 \| \d+", table)
