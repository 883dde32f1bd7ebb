"""Wins of recorded battles: two signs decide; where neither can be read the outcome is unknown, on cards and in tables too."""

import pickle
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from test_sources import ODIS, as_madt, as_pymarl, as_vault, fetch, record, refused
from test_sources import mirror as mirror  # a fixture

from omac.analysis.results import final_table
from omac.data import hdf5
from omac.data.episodes import Episodes, sha256
from omac.datasets import cards, digest
from omac.datasets.loaders import outcomes, pickles
from omac.datasets.loaders.starcraft import LIMITS, SIZES, RecordedBattle
from omac.datasets.registry import draw_sample
from omac.files import read_table
from omac.study.cell import data_row
from omac.study.prepare import pull

BITS = {"3s_vs_5z": (1, 1, 0), "3m": (0, 0, 0), "6h_vs_8z": (0, 1, 0), "MMM": (0, 0, 3), "4m": (0, 0, 0)}
WIDTHS = {"MMM": (10, 20, None, 16), "4m": (4, 20, None, 10)}  # of maps whose sizes are not written down
ENDS = ("undecided", "won", "lost", "won at the limit", "won")


def fought(map_name, end, paid=None, seed=0, readable=True):
    """One battle with its final view. end: won, lost, undecided, broken, or "won at the limit"; paid: for damage."""
    n, width, _, A = SIZES["smac"].get(map_name) or WIDTHS[map_name]
    ally_shield, enemy_shield, bits = BITS[map_name]
    m, ally, enemy = A - 6, 4 + ally_shield + bits, 3 + enemy_shield + bits
    S = n * ally + m * enemy + n * A
    rng, limit = np.random.default_rng(seed), LIMITS.get(map_name, 60)
    t = limit if "limit" in end or end == "undecided" else int(rng.integers(8, 20))
    won, lost = "won" in end, end == "lost"
    state = np.zeros((t + 1, S))
    allies, enemies = state[:, : n * ally].reshape(t + 1, n, ally), state[:, n * ally : n * ally + m * enemy]
    enemies = enemies.reshape(t + 1, m, enemy)
    allies[..., 0] = np.linspace(1, 0 if lost else 0.2, t + 1)[:, None]
    enemies[..., 0] = np.linspace(1, 0 if won else 0.3, t + 1)[:, None]
    state[:, n * ally + m * enemy] = 1  # a last action
    if not readable:
        state = rng.normal(size=state.shape)
    avail = rng.random((t + 1, n, A)) < 0.5
    avail[..., 0], avail[..., 1] = False, True
    avail[-1] = np.arange(A) == 0 if lost else np.arange(A) == 1 if won else np.arange(A) > 0
    action = (rng.random((t, n, A)) * avail[:-1]).argmax(-1)
    bonus = (outcomes.bonus(map_name) or (8, 20))[0]
    reward = np.zeros(t)
    reward[:-1] = rng.dirichlet(np.ones(t - 1)) * (paid or (20.1 - bonus if won else 5))
    reward[-1] = 1.05 * bonus if won else 0.01 * (end != "broken")
    obs = rng.uniform(-1, 1, (t + 1, n, width))
    reward, state, obs = (x.astype(np.float32) for x in (reward, state, obs))
    return RecordedBattle(obs, state, avail, action, reward, end in ("undecided", "broken"), won)


def padded(mirror, map_name, battles):
    return as_pymarl(mirror / "icq" / map_name / "good" / "a.h5", battles, LIMITS.get(map_name, 60))


def ends(data):
    """How each episode ended, in words."""
    last = data.start[1:] - 1
    decided = np.where(data.truncated[last], "undecided", "lost")
    return np.select([data.unknown, data.win], ["unknown", "won"], decided).tolist()


# --- the signs


@pytest.mark.skipif(not ODIS.is_file(), reason="the ODIS file is not here")
def test_both_signs_agree_with_all_2000_battles_of_the_odis_file():
    with h5py.File(ODIS) as f:
        filled, state, reward = f["filled"][..., 0] > 0, f["state"][()], f["reward"][..., 0]
    steps, e = filled.sum(1) - 1, np.arange(len(filled))
    played = np.where(np.arange(reward.shape[1]) < steps[:, None], reward, 0)
    readable, fallen = outcomes.fallen("3m", state, filled, 3, 9)
    bonus, least = outcomes.bonus("3m")
    assert readable.all() and fallen.sum() == 1083
    assert (fallen == (reward[e, steps - 1] >= bonus)).all()
    assert (fallen == (played.sum(1) >= least)).all()


def test_every_map_with_a_limit_has_a_bonus_and_its_actions_count_its_enemies():
    assert set(outcomes.ENEMIES) == set(LIMITS) and outcomes.bonus("3s_vs_5z")[0] == 4
    for map_name, (n, _, S, A) in SIZES["smac"].items():
        assert outcomes.ENEMIES[map_name][0] == A - outcomes.NO_ATTACKS
        assert len(outcomes.layouts(S, n, A)) == 1, map_name


@pytest.mark.parametrize("readable", [True, False])
def test_a_return_above_20_is_no_win_without_the_bonus_at_the_last_step(mirror, readable):
    """Shields grow back: an undecided battle, a lost one and one that broke off may each return 23."""
    kinds = [*ENDS, "lost", "broken", "undecided"]
    battles = [fought("3s_vs_5z", end, None if "won" in end else 23, i, readable) for i, end in enumerate(kinds)]
    padded(mirror, "3s_vs_5z", battles)
    data = fetch("icq", "3s_vs_5z", "good", mirror)
    assert data.returns[[0, 5, 6]].min() > 22
    assert ends(data) == ["undecided", "won", "lost", "won", "won", "lost", "undecided", "undecided"]


def test_of_a_vault_and_of_pickles_the_last_reward_tells_wins(mirror):
    battles = [fought("3m", end, None if "won" in end else 8, i) for i, end in enumerate(ENDS)]
    shields = fought("3m", "undecided", 23, 9)
    as_vault(mirror / "zip" / "3m.vlt", [*battles, shields])
    shutil.make_archive(mirror / "ogmarl" / "3m", "zip", mirror / "zip")
    assert ends(fetch("ogmarl", "3m", "good", mirror)) == ["undecided", "won", "lost", "won", "won", "undecided"]
    sizes = {"sizes": (6, 172, 60, 14), "limit": 150}
    bonus = outcomes.bonus("6h_vs_8z")[0]
    for i, (kind, total, last) in enumerate((("won", 20.1, 1.05 * bonus), ("limit", 23, 0.1), ("lost", 21, 0.1))):
        b = record(kind, i, **sizes)
        reward = np.full(len(b.reward), (total - last) / (len(b.reward) - 1))
        reward[0] *= 0.9  # so that rewards rise
        reward[-1] = last
        as_madt(mirror / "madt" / "6h_vs_8z" / "good" / str(i), b._replace(reward=reward.astype(np.float32)))
    assert ends(fetch("madt", "6h_vs_8z", "good", mirror)) == ["won", "undecided", "lost"]


def test_a_medivac_that_is_left_alone_hides_no_win(mirror):
    won = fought("MMM", "won")
    state = won.state.copy()
    state[-1, 10 * 7] = 0.5  # the first enemy lives, and
    state[:, 10 * 7 + 5] = 1  # is a medivac
    paid = 20.1 - outcomes.bonus("MMM")[0] - 160 * 20 / 1015
    reward = won.reward.copy()
    reward[:-1] *= paid / reward[:-1].sum()
    padded(mirror, "MMM", [won._replace(state=state, reward=reward), fought("MMM", "lost", seed=1)])
    assert ends(fetch("icq", "MMM", "good", mirror)) == ["won", "lost"]


def test_on_a_map_that_is_not_smacs_the_state_alone_tells(mirror):
    padded(mirror, "4m", [fought("4m", end, seed=i) for i, end in enumerate(("won", "lost", "undecided"))])
    data = fetch("icq", "4m", "good", mirror)
    assert ends(data) == ["won", "lost", "undecided"]
    assert "every enemy has fallen" in data.about["conversion"] and "bonus" not in data.about["conversion"]


# --- unknown outcomes


@pytest.fixture
def doubtful(mirror):
    """A data set of whose battles 0 and 3 nobody can say whether they were won."""
    padded(mirror, "4m", [fought("4m", end, 5, i, False) for i, end in enumerate(("won", "lost", "undecided", "won"))])
    return pull("icq", "4m", "good", None, None, mirror.parent)[0]


def test_an_outcome_that_nothing_tells_is_unknown_and_not_won(doubtful):
    data = Episodes.load(doubtful)
    assert ends(data) == ["unknown", "lost", "undecided", "unknown"] and not data.win.any()
    assert data.about["unknown_outcomes"] == [0, 3] and np.isnan(data.win_rate)
    assert "Whether 2 battles were won is unknown" in data.about["conversion"]
    assert data.terminated[data.start[1:] - 1].tolist() == [True, True, False, True]


def test_unknown_outcomes_stay_with_their_battles_in_samples_and_copies(doubtful, mirror, tmp_path):
    data = Episodes.load(doubtful)
    part = data.select([3, 2], sample_of=4)
    part.save(tmp_path / "part.h5")
    assert Episodes.load(tmp_path / "part.h5").unknown.tolist() == [True, False]
    assert np.isnan(part.win_rate) and data.select([1, 2]).win_rate == 0
    copy = mirror / "own" / "4m" / "good" / "x.h5"
    copy.parent.mkdir(parents=True)
    shutil.copy(doubtful, copy)
    doubtful.unlink()
    assert fetch("own", "4m", "good", mirror).unknown.tolist() == [True, False, False, True]
    params = {"data": {"sample_episodes": 2, "held_out_episodes": 0, "seed": 0}}
    (tmp_path / "d" / "raw").mkdir(parents=True)
    shutil.copy(copy, tmp_path / "d" / "raw" / "own-4m-good.h5")
    for seed in range(4):  # none, one or both of them
        params["data"]["seed"] = seed
        path, found = draw_sample("own-4m-good-100", params, tmp_path / "d")
        drawn = Episodes.load(path)
        assert drawn.unknown.tolist() == [i in (0, 3) for i in drawn.id]
        assert digest.of(drawn).sha256 == found.sha256


def test_a_win_rate_with_unknown_outcomes_is_printed_as_unknown(doubtful, tmp_path):
    assert "win rate                               unknown" in cards.card_text(doubtful)
    cards.write_cards({"good": Episodes.load(doubtful)}, tmp_path)
    facts = read_table(tmp_path / "icq-4m.csv", index_col="fact")["good"]
    assert (facts["win rate"], facts["unknown outcomes"], facts["wins"]) == ("unknown", "2", "0")
    assert read_table(tmp_path / "icq-4m-policies.csv")["win_rate"].tolist() == ["unknown"]
    episodes = read_table(tmp_path / "icq-4m-episodes.csv")
    assert episodes["outcome"].tolist() == ["unknown", "lost", "time limit", "unknown"]
    about = {"env": "smac", "map": "4m", "level": "good", "ratio": 100, "profile": "smoke", "seed": None}
    about |= {"temperature": "published", "step": None}
    table = final_table(pd.DataFrame([{**about, **data_row(Episodes.load(doubtful))}]))
    assert table["win rate"].tolist() == ["unknown"]


def test_a_file_without_unknown_outcomes_says_nothing_of_them(mirror, toy, tmp_path):
    padded(mirror, "3m", [fought("3m", end, seed=i) for i, end in enumerate(ENDS)])
    assert "unknown_outcomes" not in fetch("icq", "3m", "good", mirror).about
    toy.save(tmp_path / "toy.h5")
    with h5py.File(tmp_path / "toy.h5") as f:
        assert set(f.attrs) == {*toy.about, hdf5.SEAL}


def test_signs_that_contradict_each_other_make_one_outcome_unknown_and_many_a_refusal(mirror):
    battles = [fought("3m", "won" if i % 2 else "lost", seed=i) for i in range(12)]
    torn = battles[1]._replace(reward=battles[3].reward[: len(battles[1].reward)] * 0.1)
    file = padded(mirror, "3m", [battles[0], torn, *battles[2:]])
    assert ends(fetch("icq", "3m", "good", mirror))[:4] == ["lost", "unknown", "lost", "won"]
    file.unlink()
    (mirror.parent / "raw" / "icq-3m-good.h5").unlink()
    padded(mirror, "3m", [b._replace(reward=b.reward / 10) for b in battles])
    refused("won by their last state alone.* returns reach 2.* another reward scale", "icq", "3m", "good", mirror)


@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("factor", [1 / 20, 1 / 2, 10])
def test_another_reward_scale_is_named_as_that_and_not_as_another_step_limit(mirror, factor, readable):
    battles = [fought("3m", ENDS[i % 3], seed=i, readable=readable) for i in range(12)]
    padded(mirror, "3m", [b._replace(reward=b.reward * np.float32(factor)) for b in battles])
    said = refused("scale", "icq", "3m", "good", mirror)
    assert "step limit" not in said


def priced(battle):
    """A battle with a price on an ally's death, as SMAC pays when rewards may be negative."""
    reward = battle.reward.copy()
    reward[2] -= 3
    return battle._replace(reward=reward)


OTHER_PAY = {
    "half the scale": lambda b: b._replace(reward=b.reward / 2),
    "units counted twice": lambda b: b._replace(reward=b.reward * np.float32(365 / 530)),
    "a price on deaths": priced,
    "a scale of one": lambda b: b._replace(reward=b.reward / 20),
}


@pytest.mark.parametrize("how", OTHER_PAY)
def test_wins_of_a_vault_that_return_less_than_20_are_not_read_as_losses(how, mirror):
    battles = [fought("3m", ENDS[i % 5], seed=i) for i in range(10)]
    as_vault(mirror / "zip" / "3m.vlt", list(map(OTHER_PAY[how], battles)))
    shutil.make_archive(mirror / "ogmarl" / "3m", "zip", mirror / "zip")
    refused("another reward scale", "ogmarl", "3m", "good", mirror)


@pytest.mark.parametrize("how", ["half the scale", "units counted twice", "a price on deaths"])
def test_a_pickle_whose_signs_contradict_one_another_has_an_unknown_outcome(how, mirror):
    for i, kind in enumerate(("won", "lost")):
        b = record(kind, 3 + i, sizes=(5, 124, 780, 12), limit=70)
        as_madt(mirror / "madt" / "5m_vs_6m" / "good" / str(i), OTHER_PAY[how](b))
    assert ends(fetch("madt", "5m_vs_6m", "good", mirror)) == ["unknown", "lost"]


# --- ends out of step


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize("falls", [True, False])
def test_ends_of_a_vault_one_step_early_or_late_are_refused(mirror, by, falls):
    """Seen by the fallen that would stand up again, or by bonuses that are paid before the last step."""
    battles = [fought("3m", "won" if i % 2 or not falls else "lost", seed=i) for i in range(12)]
    if falls:
        for b in battles:
            b.avail[len(b.reward) // 2 :, 0] = np.arange(9) == 0
            b.action[len(b.reward) // 2 :, 0] = 0
    as_vault(mirror / "zip" / "3m.vlt", battles)
    spoil_vault(mirror / "zip" / "3m.vlt" / "Good", "terminals.", lambda x: np.roll(x, by, 1))
    shutil.make_archive(mirror / "ogmarl" / "3m", "zip", mirror / "zip")
    refused("out of step", "ogmarl", "3m", "good", mirror)


def spoil_vault(folder, key, change):
    """Write one array of a Vault anew, up to its index; the type may change."""
    import tensorstore

    base = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{folder}/"}}

    def array(key):
        return tensorstore.open({"driver": "zarr", "kvstore": {**base, "path": key}}).result()

    index = array("vault_index").read().result()
    x = change(index if key == "vault_index" else array(key)[:, : int(index.ravel()[0])].read().result())
    kind = "|b1" if x.dtype == bool else x.dtype.str
    meta = {"dtype": kind, "shape": list(x.shape), "chunks": list(x.shape)}
    spec = {"driver": "zarr", "kvstore": {**base, "path": key}, "metadata": meta}
    tensorstore.open(spec, create=True, delete_existing=True).result().write(x).result()


VAULT = {
    "NaN as no end": (
        "terminals.",
        lambda x: np.where(x, 1, np.nan).astype("f4"),
        "terminals: .*nan.* 0 or 1 is expected",
    ),
    "ends of 2": ("terminals.", lambda x: x.astype("i4") * 2, "terminals: .*2.* 0 or 1 is expected"),
    "half an availability": ("infos.legals.", lambda x: x * np.float32(0.5), "avail: .*0.5.* 0 or 1 is expected"),
    "NaN rewards": ("rewards.", lambda x: x * np.float32("nan"), "rewards: .* are not finite"),
    "an index too short": ("vault_index", lambda x: x - 3, "vault_index: .*another one is written after them"),
    "an index too long": ("vault_index", lambda x: x + 10**9, "declares 12\\d+ bytes"),
    "an index of nothing": ("vault_index", lambda x: x * 0, "vault_index: 0 steps"),
    "actions between whole ones": ("actions.", lambda x: x + np.float32(0.5), "action: .* there are 9, counted from 0"),
    "actions beyond 16 bits": ("actions.", lambda x: x + 65536, "action: .* there are 9, counted from 0"),
    "an observation of 1e30": (
        "observations.",
        lambda x: np.where(x == x.max(), 1e30, x).astype("f4"),
        "obs: .*beyond 100",
    ),
}


@pytest.mark.parametrize("case", VAULT)
def test_values_of_a_vault_that_cannot_be_are_refused(mirror, case):
    key, change, words = VAULT[case]
    as_vault(mirror / "zip" / "3m.vlt", [fought("3m", ENDS[i % 5], seed=i) for i in range(10)], more=5)
    spoil_vault(mirror / "zip" / "3m.vlt" / "Good", key, change)
    shutil.make_archive(mirror / "ogmarl" / "3m", "zip", mirror / "zip")
    refused(words, "ogmarl", "3m", "good", mirror)


def test_a_truncation_that_cannot_be_read_is_not_taken_for_none(mirror):
    as_vault(mirror / "zip" / "3m.vlt", [fought("3m", ENDS[i % 5], seed=i) for i in range(10)])
    spoil_vault(mirror / "zip" / "3m.vlt" / "Good", "truncations.", lambda x: x.astype("c8"))
    shutil.make_archive(mirror / "ogmarl" / "3m", "zip", mirror / "zip")
    refused("truncations: complex64", "ogmarl", "3m", "good", mirror)


def test_rewards_of_a_padded_file_one_step_early_or_late_are_refused(mirror):
    for by in (1, -1):
        battles = [fought("3m", ENDS[i % 3], seed=i, readable=False) for i in range(12)]
        file = padded(mirror, "3m", [b._replace(reward=np.roll(b.reward, by)) for b in battles])
        refused("bonus of a win is paid before the last step in 4 of 12", "icq", "3m", "good", mirror)
        file.unlink()


def test_rewards_of_a_pickle_one_step_early_are_refused(mirror):
    b = record("won", 3, sizes=(5, 124, 780, 12), limit=70)
    as_madt(mirror / "madt" / "5m_vs_6m" / "good" / "0", b._replace(reward=np.roll(b.reward, -1)))
    refused("bonus of a win is paid before the last step", "madt", "5m_vs_6m", "good", mirror)


PICKLE = {
    "NaN as an end": (4, lambda x: float("nan"), "d: .*nan.* 0 or 1 is expected"),
    "an availability of 2": (5, lambda x: [2 * y for y in x], "avail: .*2.* 0 or 1 is expected"),
    "a NaN reward of one agent": (3, lambda x: [float("nan")], "r: 1 values are not finite"),
    "an action of 1.9": (2, lambda x: [x[0] + 0.9], "action: .* there are 12, counted from 0"),
    "a state of 1e300": (0, lambda x: [1e300, *x[1:]], "state: 1 values are beyond 100"),
    "a list in a list": (1, lambda x: [[1.0]] * len(x), "a column holds other things than numbers"),
    "a view of another width": (1, lambda x: x[:-1], r"step 2 of an agent has .156, 123, 1.* the first step .156, 124"),
    "two actions": (2, lambda x: [*x, 1], r"step 2 of an agent has .156, 124, 2"),
    "a number beyond 64 bits": (1, lambda x: [2**70, *x[1:]], "o: object"),
}


@pytest.mark.parametrize("case", PICKLE)
def test_values_of_a_pickle_that_cannot_be_are_refused(mirror, case):
    at, change, words = PICKLE[case]
    path = mirror / "madt" / "5m_vs_6m" / "good" / "0"
    as_madt(path, record("won", 3, sizes=(5, 124, 780, 12), limit=70))
    agents = pickles.load(path)
    agents[0][2][at] = change(agents[0][2][at])
    torch.save(agents, path)
    refused(words, "madt", "5m_vs_6m", "good", mirror)


@pytest.mark.parametrize("x", [5, None, {"a": [1]}, [], b"abc", "abc", [[1]] * 31], ids=repr)
def test_a_pickle_that_is_no_list_of_agents_is_called_that(x, mirror):
    path = mirror / "madt" / "5m_vs_6m" / "good" / "0"
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(x, 2))
    refused(f"a {type(x).__name__}.*, a list of 1 to 30 agents is expected|codecs", "madt", "5m_vs_6m", "good", mirror)


# --- what a padded file may hold


def spoiled(path, key, change):
    with h5py.File(path, "r+") as f:
        x = change(f[key][()])
        del f[key]
        f[key] = x


def put(x, at, value):
    x[at] = value
    return x


PADDED = {
    "NaN as filled": ("filled", lambda x: put(x.astype("f4"), (1, 3), np.nan), "filled: .*nan.* 0 or 1 is expected"),
    "an end of 2": ("terminated", lambda x: x * 2, "terminated: .*2.* 0 or 1 is expected"),
    "NaN as an availability": ("avail_actions", lambda x: put(x.astype("f4"), (1, 2, 0, 3), np.nan), "avail: .*nan"),
    "half an availability": ("avail_actions", lambda x: x * 0.5, "avail.*0.5"),
    "an action of 1.9": ("actions", lambda x: x + 0.9, "action: .* there are 9, counted from 0"),
    "an action of 65537": ("actions", lambda x: x + 65536, "action: .* there are 9, counted from 0"),
    "an action of -1": ("actions", lambda x: put(x, (1, 2), -1), "action: .*-1.* there are 9, counted from 0"),
    "complex actions": ("actions", lambda x: x + 1j, "actions: complex128"),
    "an observation of 1e30": ("obs", lambda x: put(x, (0, 0, 0, 0), 1e30), "obs: 1 values are beyond 100"),
    "an observation of 1e300": (
        "obs",
        lambda x: put(x.astype("f8"), (0, 0, 0, 0), 1e300),
        "obs: 1 values are beyond 100",
    ),
    "a state of 3e38": ("state", lambda x: put(x, (0, 0, 5), 3e38), "state: 1 values are beyond 100"),
    "rewards that cancel": ("reward", lambda x: put(put(x, (0, 0), 1e30), (0, 1), -1e30), "reward: .*e\\+30"),
    "a reward of 1e300": ("reward", lambda x: put(x.astype("f8"), (0, 0), 1e300), "reward: 1 values are beyond"),
    "NaN rewards": ("reward", lambda x: put(x, (1, 2), np.nan), "reward: 1 values are not finite"),
    "rewards never written": ("reward", lambda x: x * 0, "never written"),
    "rewards written half": ("reward", lambda x: put(x, slice(6, None), 0), "battles return 0"),
    "a state of zeros": ("state", lambda x: put(x, (1, 3), 0), "state: nothing but zeros in row"),
    "an observation of zeros": ("obs", lambda x: put(x, (1, 3, 0), 0), "obs: nothing but zeros in row"),
    "a battle that begins with the fallen": (
        "avail_actions",
        lambda x: put(x, (1, 0, 0), np.arange(9) == 0),
        "action: .* not available|begins with agent 0 fallen",
    ),
    "no step at all": ("filled", lambda x: x[:, :1], "another layout"),
}


@pytest.mark.parametrize("case", PADDED)
def test_values_of_a_padded_file_that_cannot_be_are_refused(mirror, case):
    key, change, words = PADDED[case]
    path = padded(mirror, "3m", [fought("3m", ENDS[i % 5], seed=i, readable=False) for i in range(12)])
    spoiled(path, key, change)
    refused(words, "icq", "3m", "good", mirror)


def test_whole_numbers_and_doubles_are_read_whatever_their_type(mirror):
    battles = [fought("3m", ENDS[i % 5], seed=i) for i in range(10)]
    path = padded(mirror, "3m", battles)
    for key, kind in (
        ("actions", "f4"),
        ("obs", "f8"),
        ("filled", "f8"),
        ("avail_actions", bool),
        ("terminated", "i8"),
    ):
        spoiled(path, key, lambda x, kind=kind: x.astype(kind))
    data = fetch("icq", "3m", "good", mirror)
    assert (data.obs.dtype, data.action.dtype) == (np.float32, np.int16) and ends(data)[:2] == ["undecided", "won"]


def test_files_padded_to_the_limit_and_to_the_longest_battle_are_one_data_set(mirror):
    parts = [[fought("3m", "won" if i % 2 else "lost", seed=10 * k + i) for i in range(6)] for k in (1, 2)]
    longest = max(len(b.reward) for b in parts[1])
    for k, (part, limit) in enumerate(zip(parts, (60, longest), strict=True)):
        as_pymarl(mirror / "icq" / "3m" / "good" / f"{k}.h5", part, limit)
    data = fetch("icq", "3m", "good", mirror)
    assert data.lengths.tolist() == [len(b.reward) for part in parts for b in part] and data.spec.horizon == 60


@pytest.mark.parametrize("rows", [slice(0, 4), slice(4, 8)])
def test_a_part_of_an_array_that_was_never_written_is_refused_where_battles_are(mirror, rows):
    path = padded(mirror, "3m", [fought("3m", "won" if i % 2 else "lost", seed=i) for i in range(8)])
    with h5py.File(path, "r+") as f:
        x = f["state"][()]
        del f["state"]
        f.create_dataset("state", x.shape, "f4", chunks=(4, 20, 48))
        f["state"][:, :20] = x[:, :20]  # the padding need not be written
        whole = fetch("icq", "3m", "good", mirror)
        del f["state"]
        f.create_dataset("state", x.shape, "f4", chunks=(4, 20, 48))
        f["state"][rows, :20] = x[rows, :20]
    assert len(whole) == 8
    (mirror.parent / "raw" / "icq-3m-good.h5").unlink()
    refused("state: episode [04] is not written to its end", "icq", "3m", "good", mirror)


def test_what_others_recorded_has_a_digest_of_its_attributes(mirror):
    padded(mirror, "3m", [fought("3m", ENDS[i % 5], seed=i) for i in range(10)])
    path = pull("icq", "3m", "good", None, None, mirror.parent)[0]
    whole, digest = path.read_bytes(), sha256(path)
    assert b"icq good" in whole
    path.write_bytes(whole.replace(b"icq good", b"icq gOod"))
    with pytest.raises(ValueError, match="its attributes are not those that were written"):
        Episodes.load(path)
    path.write_bytes(whole)
    assert Episodes.load(path).save(path) == digest
