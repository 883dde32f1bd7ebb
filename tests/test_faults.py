"""The benchmark that flips bits: it still runs, and the committed tables say what they must."""

import sys

import pytest

from omac.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import faults  # noqa: E402

pytestmark = pytest.mark.slow

SOUND = {"refused", "nothing changed"}


def test_a_flipped_bit_is_refused_in_one_line_or_changes_nothing():
    kinds = list(faults.KINDS)
    try:
        import tensorstore  # noqa: F401
    except ImportError:
        kinds.remove("OG-MARL's Vault, zip")
    for kind, became in faults.flips(kinds, 12, seed=1).items():
        allowed = SOUND | ({"other numbers"} if faults.KINDS[kind].bare else set())
        assert len(became) == 12 and not [b for b in became if b[0] not in allowed], kind


@pytest.mark.parametrize(("how", "end"), [("crash", "os.abort()"), ("hang", "time.sleep(999)")])
def test_a_reader_that_crashes_or_hangs_is_counted_and_the_rest_goes_on(how, end, monkeypatch, tmp_path):
    begin = "def _become(read, folder, path, sound):\n"
    lines = (ROOT / "benchmarks" / "faults.py").read_text()
    assert begin in lines
    path = f"import os, sys\nsys.path.insert(0, {str(ROOT / 'benchmarks')!r})\n"
    (tmp_path / "faults.py").write_text(path + lines.replace(begin, f"{begin}    {end}\n"))
    monkeypatch.setattr(faults, "__file__", str(tmp_path / "faults.py"))
    monkeypatch.setattr(faults, "LONGEST", 60 if how == "hang" else 600)
    found = faults.flips(["digest"], 2 if how == "crash" else 1)
    assert {outcome for outcome, _ in found["digest"]} == {how}


def test_the_committed_table_has_every_kind_of_file_and_none_was_accepted_silently():
    found = faults.read_lines(faults.MARKS, faults.PAGE.read_text())
    assert list(found) == list(faults.KINDS)
    for kind, (flips, *counts) in found.items():
        row = dict(zip(faults.OUTCOMES, counts, strict=True))
        assert flips >= 200 and flips == sum(counts)
        assert not sum(row[k] for k in ("several lines", "traceback", "crash", "hang")), kind
        assert faults.KINDS[kind].bare or not row["other numbers"]


def test_the_committed_count_of_hostile_inputs_has_no_crash():
    found = faults.read_lines(faults.HOSTILE_MARKS, faults.PAGE.read_text())
    assert found and all(inputs == well and not ill for inputs, well, ill in found.values())
