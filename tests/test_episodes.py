"""The container: what goes in comes out, the same bytes each time, and bad files are named in one line."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from omac.cli import main
from omac.data import hdf5
from omac.data.episodes import Episodes, sha256, subsample, write_episodes
from omac.data.validation import FIELDS, DataError


@pytest.fixture
def file(toy, tmp_path):
    path = tmp_path / "toy.h5"
    toy.save(path)
    return path


def test_a_file_gives_back_what_was_saved_and_the_same_bytes(toy, file, tmp_path):
    back = Episodes.load(file)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(back, name), getattr(toy, name))
    assert back.about == toy.about
    assert back.save(tmp_path / "again.h5") == sha256(file)


def test_final_observations_and_terminal_transitions_are_kept(toy):
    assert len(toy.obs) == len(toy.reward) + len(toy)
    last = toy.start[1:] - 1
    assert (toy.terminated[last] ^ toy.truncated[last]).all() and toy.terminated.sum() + toy.truncated.sum() == len(toy)
    final = toy.obs[toy.start[1:] + np.arange(len(toy))]
    assert (
        final[toy.win][:, :, 4] == 1
    ).all()  # a won battle's last observation shows every agent at the end of the line


def test_a_rollout_is_what_the_simulator_said(toy):
    """Replaying the recorded actions gives the recorded rewards."""
    from omac.envs import make
    from omac.evaluation import battle_seeds

    battle, seeds = make("toy:line", 1), battle_seeds(7, shape=(50, 6)).ravel()
    for e in (0, 1, 7, 299):
        view = battle.reset(seeds[e : e + 1])
        for t in range(toy.start[e], toy.start[e + 1]):
            np.testing.assert_array_equal(view.obs[0], toy.obs[t + e])
            step = battle.step(toy.action[t][None].astype(int))
            assert step.reward[0] == toy.reward[t]
            view = step.view
        np.testing.assert_array_equal(view.obs[0], toy.obs[toy.start[e + 1] + e])


def test_to_go_is_the_discounted_sum_of_what_followed(toy):
    got = toy.to_go(0.9)
    for e in (0, 5, 299):
        r = toy.reward[toy.start[e] : toy.start[e + 1]]
        want = [sum(0.9**k * x for k, x in enumerate(r[t:])) for t in range(len(r))]
        np.testing.assert_allclose(got[toy.start[e] : toy.start[e + 1]], want, rtol=1e-5, atol=1e-5)


def test_select_keeps_whole_episodes_in_the_order_asked_for(toy):
    part = toy.select([7, 3, 299])
    assert part.id.tolist() == [7, 3, 299]
    np.testing.assert_allclose(part.returns, toy.returns[[7, 3, 299]])
    np.testing.assert_array_equal(part.obs[part.start[1] + 1], toy.obs[toy.start[3] + 3])
    with pytest.raises(IndexError, match="0 to 299"):
        toy.select([300])


def test_a_sample_is_seeded_without_repeats_nested_and_stores_its_ids(toy):
    big, small = subsample(toy, 100, 0, "p"), subsample(toy, 10, 0, "p")
    assert len(set(big.id)) == 100 and small.id.tolist() == big.id[:10].tolist()
    assert subsample(toy, 100, 1, "p").id.tolist() != big.id.tolist()
    assert big.about["parent"] == "p" and big.about["sample_of"] == 300
    with pytest.raises(ValueError, match="cannot sample 301 of 300"):
        subsample(toy, 301, 0, "p")


def spoil(path, name, change):
    """Rewrite one dataset of a file with `change` applied."""
    with h5py.File(path, "r+") as f:
        x = change(f[name][()])
        del f[name]
        f[name] = x


def put(x, at, value):
    x[at] = value
    return x


def test_parts_written_one_after_another_hold_the_same_episodes_as_the_whole(toy, tmp_path):
    def parts():
        return (toy.select(np.arange(lo, lo + 100)) for lo in (0, 100, 200))

    assert write_episodes(tmp_path / "a.h5", parts()) == write_episodes(tmp_path / "b.h5", parts())
    back = Episodes.load(tmp_path / "a.h5")
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(back, name), getattr(toy, name))


def test_a_bad_part_leaves_no_file(toy, tmp_path):
    with pytest.raises(DataError, match="not finite"):
        write_episodes(tmp_path / "a.h5", [toy, replace(toy, reward=toy.reward * np.nan)])
    with pytest.raises(DataError, match="no episodes to write"):
        write_episodes(tmp_path / "a.h5", [])
    assert not list(tmp_path.iterdir())


def regroup(path, name):
    with h5py.File(path, "r+") as f:
        del f[name]
        f.create_group(name)


def test_whatever_bytes_are_damaged_the_answer_is_one_line(file, capsys):
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    for at in rng.integers(8, min(len(whole), 20_000) - 8, 60):
        file.write_bytes(whole[:at] + rng.bytes(8) + whole[at + 8 :])
        code = main(["check", str(file)])
        printed = capsys.readouterr().err
        assert (code, printed.count("\n")) in ((0, 0), (1, 1)), printed


def test_a_missing_file_or_a_folder_is_answered_with_the_command_that_makes_it(tmp_path):
    for name, words in (
        ("smax-6h_vs_8z-good.h5", "run `python -m omac pull smax 6h_vs_8z good`"),
        ("smax-6h_vs_8z-good-100.h5", "then `python -m omac subsample smax-6h_vs_8z-good-100`"),
        ("x.h5", "a misspelt path"),
    ):
        with pytest.raises(DataError, match=words):
            Episodes.load(tmp_path / name)
    with pytest.raises(DataError, match="is a folder"):
        Episodes.load(tmp_path)


def unavailable(path):
    with h5py.File(path, "r+") as f:
        first = f["avail"][0, 0]
        f["action"][0, 0] = np.flatnonzero(~first)[0] if not first.all() else 0
        f["avail"][0, 0] = np.where(np.arange(3) == f["action"][0, 0], False, True)


def flag_of_two(path):
    """HDF5 keeps a bool as a byte: one that is neither 0 nor 1."""
    with h5py.File(path, "r+") as f:
        x = f["win"][()].view(np.uint8)
        x[3] = 2
        del f["win"]
        kind = h5py.h5t.py_create(np.dtype(bool), logical=True)
        space = h5py.h5s.create_simple(x.shape)
        h5py.h5d.create(f.id, b"win", kind, space).write(h5py.h5s.ALL, h5py.h5s.ALL, x, h5py.h5t.NATIVE_UINT8)


def attribute(key, value, sealed=False):
    """Give an attribute another value; sealed: as somebody who writes such files."""

    def change(path):
        with h5py.File(path, "r+") as f:
            f.attrs[key] = json.dumps(value)
            if sealed:
                hdf5.seal_attributes(f)

    return change


ATTRIBUTES = {
    "policies": (5, None, [], [5], {}, [""]),
    "horizon": ("9", 1e99, None, 0, True, 10.5, -1, 1 << 40),
    "reward_scale": (float("nan"), float("inf"), "20", 0, -20, True, [20]),
    "sizes": (7, [2, 6, 11], [2, 6, 11, 3.0], [2, 6, 11, 0], ["2", 6, 11, 3]),
    "env": (3, "", None, "a\nb", "x" * 1000),
    "map": (["line"], {}),
    "level": (1.5,),
    "source": (None,),
    "seed": ("0", 1.5, -1, True),
    "versions": (None, ["1"], {"jax": 1}),
    "policy_returns": ([float("nan")], ["1"], 1, [1, 2, 3]),
    "unknown_outcomes": (3, ["0"], [-1]),
    "note": (["a"],),
}


@pytest.mark.parametrize("key", ATTRIBUTES)
def test_an_attribute_of_the_wrong_kind_is_named_in_one_line(key, file):
    whole = file.read_bytes()
    for value in ATTRIBUTES[key]:
        file.write_bytes(whole)
        attribute(key, value)(file)
        with pytest.raises(DataError, match=f"attribute {key}: ") as e:
            Episodes.load(file)
        assert "\n" not in str(e.value), value
    file.write_bytes(whole)
    Episodes.load(file)


def test_a_message_stays_one_line_and_short_whatever_it_is_made_of():
    said = str(DataError("a\nb", "x\ty", "z" * 10_000, "q\r\nw"))
    assert said.isprintable() and len(said) < 1_000


BAD = {
    "an observation of 1e30": (
        lambda p: spoil(p, "obs", lambda x: put(x, (5, 0, 0), 1e30)),
        r"obs: 1 values are beyond 10000, the first, 1e\+30, at \[5, 0, 0\]",
    ),
    "a state of 3e38": (lambda p: spoil(p, "state", lambda x: put(x, (5, 0), 3e38)), "state: 1 values are beyond"),
    "rewards that cancel": (
        lambda p: spoil(p, "reward", lambda x: put(x, [0, 1], [1e30, -1e30])),
        r"reward: step 0 pays 1e\+30 on a scale of 20",
    ),
    "doubles": (lambda p: spoil(p, "state", lambda x: x.astype("f8")), "state: float64 .* float32"),
    "a wider action": (lambda p: spoil(p, "action", lambda x: x.astype("i8")), "action: int64 .* int16"),
    "bytes in the other order": (lambda p: spoil(p, "obs", lambda x: x.astype(">f4")), "obs: >f4 .* float32"),
    "a flag of 2": (flag_of_two, "win: a byte of 2, 0 or 1 is expected"),
    "a negative id": (lambda p: spoil(p, "id", lambda x: x - 5), "id: -5, ids count from 0"),
    "offsets that jump": (
        lambda p: spoil(p, "start", lambda x: put(x, 4, np.iinfo(np.int64).min)),
        "start: episode 3 has length",
    ),
    "a won battle of unknown outcome": (
        lambda p: attribute("unknown_outcomes", list(range(300)), sealed=True)(p),
        "win: episode .* is won, and its outcome unknown",
    ),
    "NaN": (
        lambda p: spoil(p, "obs", lambda x: put(x, (5, 0, 0), np.nan)),
        "obs: 1 values are not finite, the first at \\[5, 0, 0\\]",
    ),
    "an unavailable action": (unavailable, "action: 1 actions were not available, the first . at step 0, agent 0"),
    "a missing final observation": (
        lambda p: spoil(p, "obs", lambda x: x[:-300]),
        "obs: .*final observation of each episode is missing",
    ),
    "an episode of length zero": (
        lambda p: spoil(p, "start", lambda x: put(x, 4, x[3])),
        "start: episode 3 has length 0",
    ),
    "a wrong width": (
        lambda p: spoil(p, "obs", lambda x: np.concatenate([x, x], -1)),
        r"obs: \[n, O, S, A\] is \[2, 12, 11, 3\]",
    ),
    "too few agents": (lambda p: spoil(p, "avail", lambda x: x[:, :1]), "obs: .* agents"),
    "too few actions": (lambda p: spoil(p, "avail", lambda x: x[:, :, :1]), r"obs: \[n, O, S, A\] is \[2, 6, 11, 1\]"),
    "an unknown action": (lambda p: spoil(p, "action", lambda x: put(x, (0, 0), 9)), "action: 0 to 9, there are 3"),
    "an end inside an episode": (
        lambda p: spoil(p, "terminated", lambda x: put(x, 0, True)),
        "terminated: step 0 ends inside an episode",
    ),
    "a dropped terminal transition": (
        lambda p: spoil(p, "truncated", lambda x: x & False),
        "terminated: the last step of",
    ),
    "returns-to-go as rewards": (
        lambda p: spoil(p, "reward", lambda x: x * 0 + 9),
        "reward: an episode returns .* returns-to-go",
    ),
    "a win without an end": (
        lambda p: spoil(p, "win", lambda x: x | True),
        "win: episode .* is won but not terminated",
    ),
    "a missing field": (lambda p: h5py.File(p, "r+").__delitem__("state"), "state: not in the file"),
    "another type": (lambda p: spoil(p, "reward", lambda x: x.astype(int)), "reward: int64 .* kind 'f'"),
    "a lost attribute": (lambda p: h5py.File(p, "r+").attrs.__delitem__("horizon"), "attribute horizon: missing"),
    "a truncated file": (lambda p: p.write_bytes(p.read_bytes()[:-500]), "file: .*truncated or damaged file"),
    "an attribute that is not JSON": (lambda p: h5py.File(p, "r+").attrs.__setitem__("horizon", 10), "file: .*damaged"),
    "a group in place of a field": (lambda p: regroup(p, "win"), "win: not in the file"),
    "no HDF5 file": (lambda p: p.write_text("hello"), "file: begins with b'hello'.*not an HDF5 file"),
}


@pytest.mark.parametrize("case", BAD)
def test_check_names_file_field_values_and_cause_in_one_line(case, file, capsys):
    damage, words = BAD[case]
    damage(file)
    with pytest.raises(DataError, match=words) as e:
        Episodes.load(file)
    assert main(["check", str(file)]) == 1
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and "toy.h5" in printed and "likely cause" in printed and str(e.value) in printed


def test_data_of_another_width_than_the_attributes_say_is_refused(toy, tmp_path):
    wrong = replace(toy, about={**toy.about, "sizes": [2, 7, 11, 3]})
    with pytest.raises(
        DataError, match=r"\[n, O, S, A\] is \[2, 6, 11, 3\], the simulator's sizes are \[2, 7, 11, 3\]"
    ):
        wrong.save(tmp_path / "x.h5")


@pytest.mark.parametrize("key", ["note", "level", "policy_returns"])
def test_an_attribute_that_could_be_and_is_not_as_it_was_written_is_refused(key, toy, tmp_path):
    """No digest that is kept elsewhere covers what a file says of its policies and itself."""
    whole = {**toy.about, "note": "a", "policy_returns": [1.5]}
    replace(toy, about=whole).save(tmp_path / "x.h5")
    assert Episodes.load(tmp_path / "x.h5").about == whole
    attribute(key, {"note": "b", "level": "rando", "policy_returns": [1.25]}[key])(tmp_path / "x.h5")
    with pytest.raises(DataError, match="its attributes are not those that were written"):
        Episodes.load(tmp_path / "x.h5")


def test_a_bad_container_is_not_written_and_a_crash_leaves_the_old_file(toy, file, tmp_path, monkeypatch):
    before = sha256(file)
    with pytest.raises(DataError):
        replace(toy, reward=toy.reward * np.nan).save(file)
    monkeypatch.setattr(h5py.Group, "create_dataset", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        toy.save(file)
    assert sha256(file) == before and [p.name for p in tmp_path.iterdir()] == ["toy.h5"]


def test_the_card_counts_what_is_in_the_file(toy, file, capsys):
    assert main(["card", str(file)]) == 0
    card = capsys.readouterr().out
    dead = np.mean([toy.avail[t + e].sum(-1) == 1 for e in range(300) for t in range(toy.start[e], toy.start[e + 1])])
    for words in (
        "episodes                               300",
        f"transitions                            {len(toy.reward)}",
        f"{toy.returns.mean():.4g}",
        f"{toy.win.mean():.4g}",
        f"dead agent-steps                       {dead:.4g}",
        "random",
    ):
        assert words in card
    from omac.datasets.cards import facts

    spoiled = toy.avail.copy()
    spoiled[0, 0, toy.action[0, 0]] = False
    assert facts(toy)["actions taken that were not available"] == 0
    assert facts(replace(toy, avail=spoiled))["actions taken that were not available"] == 1
    twice = facts(toy.select([0, 1, 1, 2]))
    assert twice["identical episodes"] >= 1
