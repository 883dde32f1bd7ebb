"""Data cards: every number on them against a literal count, and what they say of states."""

from dataclasses import replace

import numpy as np
import pytest

from omac.datasets import cards
from omac.datasets.coverage import coverage, project, saco
from omac.envs.smax_maps import CARD
from omac.files import read_table
from omac.paths import ROOT


def test_a_cards_facts_equal_literal_counts(toy):
    found = cards.facts(toy)
    returns = [toy.reward[a:b].astype(float).sum() for a, b in zip(toy.start, toy.start[1:], strict=False)]
    assert found["episodes"] == len(returns) == 300 and found["transitions"] == len(toy.reward)
    assert found["return mean"] == pytest.approx(np.mean(returns)) and found["return max"] == pytest.approx(
        max(returns)
    )
    shares = [v for k, v in found.items() if k.startswith("returns ")]
    assert shares[0] == pytest.approx(np.mean([r >= 15 for r in returns])) and sum(shares) == pytest.approx(1)
    assert found["time limits"] == sum(toy.truncated[b - 1] for b in toy.start[1:])


def test_coverage_is_95_percent_of_itself_near_it_for_a_twin_and_nothing_for_a_stranger():
    rng = np.random.default_rng(0)
    states = {
        name: rng.normal(size=(3_000, 6)).astype(np.float32) + shift
        for name, shift in (("a", 0), ("twin", 0), ("far", 40))
    }
    table = coverage(project(states))
    assert table.loc["a", "a"] == pytest.approx(0.95, abs=0.002) and table.loc["a", "twin"] > 0.9
    assert table.loc["a", "far"] == table.loc["far", "a"] == 0


def test_coverage_is_not_symmetric_a_part_is_covered_by_the_whole():
    rng = np.random.default_rng(0)
    whole = rng.uniform(-1, 1, (4_000, 2)).astype(np.float32)
    table = coverage(project({"part": whole[whole[:, 0] > 0.5] * 1.0, "whole": whole}))
    assert table.loc["part", "whole"] > 0.7 > 0.5 > table.loc["whole", "part"]


def test_the_projection_leaves_out_constant_features_and_refuses_nothing_else():
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    x[:, 1] = 7
    assert project({"a": x})["a"].shape == (50, 2)
    with pytest.raises(ValueError, match="all 50 states are the same"):
        project({"a": np.ones((50, 3), np.float32)})


def test_saco_equals_a_literal_count_of_distinct_pairs(toy):
    joint, each = saco(toy)
    rows = toy.rows()[1]
    pairs = {(*toy.state[r].round(4).tolist(), *a.tolist()) for r, a in zip(rows, toy.action, strict=True)}
    assert joint == len(pairs) / len(rows)
    for i, found in enumerate(each):
        seen = {(*toy.obs[r, i].round(4).tolist(), int(a)) for r, a in zip(rows, toy.action[:, i], strict=True)}
        assert found == len(seen) / len(rows)
    found = cards.facts(toy)
    assert (found["joint SACo"], found["per-agent SACo, lowest"]) == (joint, min(each))


def test_saco_is_1_without_a_pair_twice_and_halves_when_all_is_there_twice(toy):
    data = toy.select(range(20))
    state = np.arange(len(data.state), dtype=np.float32)[:, None] * np.ones((1, data.state.shape[1]), np.float32)
    data = replace(data, state=state)
    twice = replace(data.select([*range(20), *range(20)]))
    assert saco(data)[0] == 1 and saco(twice)[0] == 0.5
    nearly = replace(twice, state=twice.state + np.float32(1e-6))  # last bits make no new pairs
    assert saco(replace(nearly, state=np.where(nearly.state < 1, nearly.state, twice.state)))[0] == 0.5


def test_a_card_says_of_smaxs_maps_what_is_known_today_and_of_others_what_the_file_says():
    smax, other = ({"source": s, "map": "corridor", "note": "old", "conversion": "a"} for s in ("smax", "own"))
    assert cards.notes(smax) == {"note": CARD["corridor"], "conversion": "a"}
    assert cards.notes(other) == {"note": "old", "conversion": "a"}
    assert cards.notes({"source": "smax", "map": "6h_vs_8z"}) == {"note": "", "conversion": ""}
    for name, note in CARD.items():  # the committed cards
        card = read_table(ROOT / "data" / "cards" / f"smax-{name}.csv", dtype=str).set_index("fact")
        assert (card.loc["note"] == note).all()


@pytest.mark.slow
def test_the_cards_of_a_map_are_written_whole_and_the_same_twice(toy, tmp_path):
    paths = []
    for i, level in enumerate(("good", "medium")):
        part = toy.select(np.arange(150) + 150 * i, level=level, source="toy", sample_of=300)
        paths.append(tmp_path / f"toy-line-{level}-100.h5")
        part.save(paths[-1])
    made = cards.write_cards(cards.read_levels(paths), tmp_path / "a")
    assert [p.name for p in made] == [
        f"toy-line{x}.csv" for x in ("-coverage", "-episodes", "-policies", "-states", "")
    ]
    episodes = read_table(tmp_path / "a" / "toy-line-episodes.csv")
    assert len(episodes) == 300 and episodes.groupby("level").size().to_dict() == {"good": 150, "medium": 150}
    np.testing.assert_allclose(episodes["return"], toy.returns, rtol=1e-3)
    assert (episodes["outcome"] == "won").sum() == toy.win.sum()
    for a in made:
        b = [p for p in cards.write_cards(cards.read_levels(paths), tmp_path / "b") if p.name == a.name][0]
        assert a.read_bytes() == b.read_bytes()
    with pytest.raises(ValueError, match="each level once"):
        cards.read_levels([paths[0], paths[0]])
