"""Real data: each layout comes out as it was recorded, by the writers its authors use; what can't be told is refused in one line."""

import functools
import hashlib
import http.server
import os
import shutil
import stat
import sys
import threading
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from omac import paths
from omac.data.episodes import Episodes, sha256
from omac.data.validation import DataError, check
from omac.datasets.digest import of
from omac.datasets.export import write_layout
from omac.datasets.loaders import catalogue, download, kept, pickles
from omac.datasets.loaders.starcraft import LIMITS, RecordedBattle
from omac.datasets.registry import DataSet
from omac.study.prepare import pull

MIRROR = os.environ.get("OMAC_MIRROR") or paths.ROOT.parent / "shared" / "mirror"
ODIS = paths.Path(MIRROR) / "odis" / "3m" / "medium" / "part_0.h5"
NO_ODIS = (
    "the ODIS file is not beside the checkout (../shared/mirror) and OMAC_MIRROR does not name a folder that has it"
)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """An empty mirror that OMAC_MIRROR names; downloads go to a folder of this test."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("OMAC_MIRROR", str(folder))
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    return folder


def record(kind, seed, sizes=(3, 30, 48, 9), limit=60):
    """One battle as a simulator would give it, with its final view: kind "won", "lost" or "limit"."""
    (n, width, S, A), rng = sizes, np.random.default_rng(seed)
    t = limit if kind == "limit" else int(rng.integers(8, 20))
    avail = rng.random((t + 1, n, A)) < 0.5
    avail[..., 0], avail[..., 1] = False, True
    if kind == "lost":
        avail[-1] = np.arange(A) == 0
    avail[t // 2 :, 0] = np.arange(A) == 0  # the first agent falls half way
    action = (rng.random((t, n, A)) * avail[:-1]).argmax(-1)
    reward = rng.dirichlet(np.ones(t)).astype(np.float32) * {"won": 9, "lost": 6, "limit": 3}[kind]
    if kind == "won":
        reward[-1] += 20 - reward.sum()
    obs, state = (rng.normal(size=(t + 1, *s)).astype(np.float32) for s in ((n, width), (S,)))
    return RecordedBattle(obs, state, avail, action, reward, kind == "limit", kind == "won")


def fabricated(count=12, seed=0, **kw):
    return [record(("won", "lost", "limit", "lost")[i % 4], seed + i, **kw) for i in range(count)]


@functools.cache
def recorded(count=12):
    """The first battles of the ODIS file and one that the limit ended, cut out by hand."""
    if not ODIS.is_file():
        pytest.skip(NO_ODIS)
    with h5py.File(ODIS) as f:
        long = int(np.flatnonzero(f["filled"][:, -1, 0])[0])
        out = []
        for e in [*range(count - 1), long]:
            t = int(f["filled"][e].sum()) - 1
            keys = ("obs", "state", "avail_actions", "actions", "reward")
            obs, state, avail, action, reward = (f[k][e] for k in keys)
            won = bool(reward.sum() > 19.9)
            out.append(
                RecordedBattle(
                    *(obs[: t + 1], state[: t + 1], avail[: t + 1] > 0, action[:t, :, 0], reward[:t, 0]), t == 60, won
                )
            )
    return out


@pytest.fixture(params=["fabricated", "recorded"])
def battles(request):
    """A dozen 3m battles, fabricated or of the ODIS file."""
    return {"fabricated": fabricated, "recorded": recorded}[request.param]()


def as_pymarl(path, battles, limit=60, flag_limits=True):
    """PyMARL's buffer as it is dumped: every key padded with zeros to limit + 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    E, n, A = len(battles), *battles[0].avail.shape[1:]
    x = {
        "obs": np.zeros((E, limit + 1, *battles[0].obs.shape[1:]), np.float32),
        "state": np.zeros((E, limit + 1, battles[0].state.shape[1]), np.float32),
        "avail_actions": np.zeros((E, limit + 1, n, A), np.int32),
        "actions": np.zeros((E, limit + 1, n, 1), np.int64),
        "reward": np.zeros((E, limit + 1, 1), np.float32),
        "terminated": np.zeros((E, limit + 1, 1), np.uint8),
        "filled": np.zeros((E, limit + 1, 1), np.int64),
    }
    for e, b in enumerate(battles):
        t = len(b.reward)
        x["obs"][e, : t + 1], x["state"][e, : t + 1], x["avail_actions"][e, : t + 1] = b.obs, b.state, b.avail
        x["actions"][e, :t, :, 0], x["reward"][e, :t, 0], x["filled"][e, : t + 1] = b.action, b.reward, 1
        x["terminated"][e, t - 1] = flag_limits or not b.truncated
    with h5py.File(path, "w") as f:
        for k, v in x.items():
            f[k] = v
    return path


def as_vault(folder, battles, uid="Good", more=0, pay=(1, 1, 1)):
    """A Vault written by flashbax: battles back to back, `more` steps of one that does not end."""
    pytest.importorskip("flashbax", reason="flashbax, the Vault's own writer, is not installed: pip install flashbax")
    import jax.numpy as jnp
    from flashbax.buffers.trajectory_buffer import TrajectoryBufferState
    from flashbax.vault import Vault

    def column(get):
        return np.concatenate([get(b) for b in battles] + [get(battles[0])[:more]])[None]

    def ends(b):  # terminals of dead agents come early, as OG-MARL's wrapper and OMIGA's simulator record them
        done = b.avail[1:].sum(-1) == 1
        done[-1] = True
        return done

    n = battles[0].obs.shape[1]
    experience = {
        "observations": column(lambda b: b.obs[:-1]),
        "actions": column(lambda b: b.action).astype(np.int32),
        "rewards": column(lambda b: b.reward[:, None] * np.array(pay, np.float32)),
        "terminals": column(ends),
        "truncations": column(lambda b: np.zeros((len(b.reward), n), bool)),
        "infos": {"state": column(lambda b: b.state[:-1]), "legals": column(lambda b: b.avail[:-1]).astype(np.float32)},
    }
    steps = experience["rewards"].shape[1]
    state = TrajectoryBufferState(
        experience=_jax(experience, jnp), current_index=jnp.array(steps), is_full=jnp.array(False)
    )
    vault = Vault(folder.name, state.experience, rel_dir=str(folder.parent), vault_uid=uid)
    vault.write(state, source_interval=(0, steps))


def _jax(x, jnp):
    return {k: _jax(v, jnp) for k, v in x.items()} if isinstance(x, dict) else jnp.asarray(x)


def as_madt(path, battle, kind="list", pruned=False):
    """One pickle as MADT's buffer fills it: numbers in lists, and `done` as the NumPy bool that the simulator gave."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n, t = battle.action.shape[1], len(battle.reward)
    g = np.split(battle.state, n, -1)
    plain = (lambda x: x.tolist()) if kind == "list" else (lambda x: x)
    agents = []
    for i in range(n):
        done = battle.avail[1:, i].sum(-1) == 1
        done[-1] = True
        last = int(done.argmax()) + 1 if pruned else t
        agents.append(
            [
                [
                    plain(g[i][s]),
                    plain(battle.obs[s, i]),
                    plain(battle.action[s, i : i + 1]),
                    plain(battle.reward[s : s + 1]),
                    done[s],
                    plain(battle.avail[s, i].astype(np.int64)),
                ]
                for s in range(last)
            ]
        )
    torch.save(agents, path, _use_new_zipfile_serialization=kind != "numpy 1")
    if kind == "numpy 1":  # which called its modules otherwise
        assert path.read_bytes().count(b"numpy._core")
        path.write_bytes(path.read_bytes().replace(b"numpy._core", b"numpy.core"))


def same(data, battles, final_view=True):
    """Element by element: `data` holds exactly `battles`, without the last step of the truncated if no final view was kept."""
    assert len(data) == len(battles)
    for e, b in enumerate(battles):
        a, z = data.start[e], data.start[e + 1]
        t = len(b.reward) - (b.truncated and not final_view)
        views = t + 1 if final_view or b.truncated else t
        for name in ("obs", "state", "avail"):
            np.testing.assert_array_equal(getattr(data, name)[a + e : a + e + views], getattr(b, name)[:views])
        np.testing.assert_array_equal(data.action[a:z], b.action[:t])
        np.testing.assert_array_equal(data.reward[a:z], b.reward[:t])
        assert (data.truncated[z - 1], data.terminated[z - 1], data.win[e]) == (b.truncated, not b.truncated, b.win)
        if views == t:  # the row that nobody recorded
            row = z + e
            assert not data.obs[row].any() and not data.state[row].any()
            assert (data.avail[row] == (np.arange(data.avail.shape[2]) == 0)).all()


def fetch(source, map_name, level, mirror):
    path, digest = pull(source, map_name, level, None, None, mirror.parent)
    data = Episodes.load(path)
    assert digest == of(data)
    return data


def refused(match, source, map_name, level, mirror):
    """The pull fails in one line that matches, and leaves no file."""
    with pytest.raises((ValueError, OSError), match=match) as e:
        pull(source, map_name, level, None, None, mirror.parent)
    assert "\n" not in str(e.value)
    assert not DataSet(source, map_name, level).raw_path(mirror.parent).exists()
    assert not list(mirror.parent.glob("raw/.*"))
    return str(e.value)


# --- the four layouts


@pytest.mark.skipif(not ODIS.is_file(), reason=NO_ODIS)
def test_the_odis_file_has_2000_episodes_50450_transitions_1083_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("OMAC_MIRROR", str(MIRROR))
    data = fetch("odis", "3m", "medium", tmp_path / "x")
    assert (len(data), len(data.reward), data.win.sum()) == (2000, 50450, 1083)
    assert data.spec == replace(data.spec, env="smac", map="3m", n=3, obs=30, state=48, actions=9, horizon=60)
    assert set(np.round(data.returns[data.win], 3)) == {20.0} and data.returns[~data.win].max() < 10
    at_limit = data.truncated[data.start[1:] - 1] & (data.lengths == 60)
    assert at_limit.sum() == 47 and data.truncated.sum() == 48  # one more broke off: nothing moved, and the flag rose
    assert data.about["origin"]["files"] == {"part_0.h5": catalogue.SOURCES["odis"].sha256["3m", "medium"]}


@pytest.mark.parametrize("flag_limits", [True, False])
def test_pymarl_files_come_out_as_recorded_whether_or_not_time_limits_are_flagged(mirror, battles, flag_limits):
    as_pymarl(mirror / "icq" / "3m" / "good" / "a.h5", battles, flag_limits=flag_limits)
    same(fetch("icq", "3m", "good", mirror), battles)


def test_a_return_above_20_is_no_win_where_the_limit_ended_the_battle(mirror):
    shields = record("limit", 0)
    shields = shields._replace(reward=shields.reward * 7)  # they regenerate: 21 without a win
    as_pymarl(mirror / "icq" / "3m" / "good" / "a.h5", [shields], flag_limits=False)
    same(fetch("icq", "3m", "good", mirror), [shields])


@pytest.mark.slow
def test_a_vault_written_by_flashbax_comes_out_as_recorded(mirror, battles):
    for uid, part in (("Good", battles), ("Poor", battles[:3])):
        as_vault(mirror / "zip" / "3m.vlt", part, uid, more=5)
    shutil.make_archive(mirror / "ogmarl" / "3m", "zip", mirror / "zip")
    data = fetch("ogmarl", "3m", "good", mirror)
    same(data, battles, final_view=False)
    limits = sum(b.truncated for b in battles)
    assert f"{limits} of {len(battles)} battles" in data.about["conversion"]
    assert "5 steps of an unfinished last battle are left out" in data.about["conversion"]
    same(fetch("ogmarl", "3m", "poor", mirror), battles[:3], final_view=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["course #2", "a?b", "100%20c", "d&e"])
def test_a_vault_is_read_and_written_in_a_folder_of_any_name(name, mirror, battles, tmp_path, monkeypatch):
    """Its driver takes addresses too, in which these letters mean something."""
    monkeypatch.setattr(paths, "BUILD", tmp_path / name)
    as_vault(mirror / "zip" / "3m.vlt", battles)
    shutil.make_archive(mirror / "ogmarl" / "3m", "zip", mirror / "zip")
    data = fetch("ogmarl", "3m", "good", mirror)
    same(data, battles, final_view=False)
    made = write_layout(data, "vault", tmp_path / name / "3m.vlt")
    assert of(kept.restored(made)) == of(data)


MADT = {"sizes": (5, 124, 780, 12), "limit": 70}


@pytest.mark.parametrize("kind", ["list", "array", "numpy 1"])
def test_madt_pickles_of_lists_or_arrays_old_and_new_come_out_as_recorded(mirror, kind):
    battles = fabricated(8, **MADT)
    for i, b in enumerate(battles):
        as_madt(mirror / "madt" / "5m_vs_6m" / "good" / str(i), b, kind)
    data = fetch("madt", "5m_vs_6m", "good", mirror)
    same(data, battles, final_view=False)
    assert data.about["env"] == "smac-madt"


def test_a_pruned_pickle_is_filled_up_with_what_a_dead_agent_sees(mirror):
    b = record("won", 1, **MADT)
    fallen = len(b.reward) // 2
    obs, state = b.obs.copy(), b.state.copy().reshape(-1, 5, 156)
    for x in (obs, state):
        x[:, :, -5:] = np.eye(5)
        x[fallen:, 0] = np.eye(x.shape[-1])[-5]  # zeros but for the first agent's id
    whole = b._replace(obs=obs, state=state.reshape(-1, 780))
    as_madt(mirror / "madt" / "5m_vs_6m" / "good" / "0", whole, pruned=True)
    same(fetch("madt", "5m_vs_6m", "good", mirror), [whole], final_view=False)
    as_madt(mirror / "madt" / "5m_vs_6m" / "poor" / "0", b, pruned=True)  # an observation without ids
    refused("cut elsewhere than at its death", "madt", "5m_vs_6m", "poor", mirror)


def test_our_own_file_is_taken_over_if_it_is_of_that_map_and_level(mirror, toy):
    for level in ("random", "good"):
        path = mirror / "own" / "line" / level / "x.h5"
        path.parent.mkdir(parents=True)
        toy.save(path)
    data = fetch("own", "line", "random", mirror)
    np.testing.assert_array_equal(data.obs, toy.obs)
    np.testing.assert_array_equal(data.start, toy.start)
    assert data.about["source"] == "own" and data.about["env"] == "toy"
    refused("'random', in the folder 'good'", "own", "line", "good", mirror)


def test_files_are_read_in_sorted_order_whatever_the_order_they_were_made_in(mirror):
    battles = fabricated(9)
    for i in (2, 0, 1):
        as_pymarl(mirror / "cfcql" / "3m" / "expert" / f"part_{i}.h5", battles[3 * i : 3 * i + 3])
    same(fetch("cfcql", "3m", "expert", mirror), battles)
    battles = fabricated(6, **MADT)
    for i in (4, 1, 5, 0, 3, 2):
        as_madt(mirror / "madt" / "5m_vs_6m" / "poor" / f"{i}.pt", battles[i])
    same(fetch("madt", "5m_vs_6m", "poor", mirror), battles, final_view=False)


# --- what is refused


def test_a_flipped_byte_is_refused_with_both_digests(mirror, monkeypatch):
    path = as_pymarl(mirror / "odis" / "3m" / "medium" / "part_0.h5", fabricated())
    whole, digest = path.read_bytes(), sha256(path)
    monkeypatch.setitem(catalogue.SOURCES["odis"].sha256, ("3m", "medium"), digest)
    path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    assert refused("sha256", "odis", "3m", "medium", mirror).count(digest) == 1
    path.write_bytes(whole)
    assert len(fetch("odis", "3m", "medium", mirror)) == 12


def test_truncated_and_foreign_files_are_refused(mirror, toy):
    path = as_pymarl(mirror / "icq" / "3m" / "good" / "a.h5", fabricated())
    path.write_bytes(path.read_bytes()[:-1000])
    refused("truncated, damaged or no HDF5 file", "icq", "3m", "good", mirror)
    path.unlink()
    refused("nothing there", "icq", "3m", "good", mirror)
    toy.save(path)
    refused("avail_actions: not in the file", "icq", "3m", "good", mirror)
    other = mirror / "madt" / "5m_vs_6m" / "good" / "0"
    other.parent.mkdir(parents=True)
    for words, write in (
        ("damaged, or a pickle", lambda: other.write_text("hello")),
        ("another layout", lambda: torch.save({"obs": [1, 2]}, other)),
        ("damaged, or a pickle", lambda: other.write_bytes(path.read_bytes())),
    ):
        write()
        refused(words, "madt", "5m_vs_6m", "good", mirror)
    vault = mirror / "ogmarl" / "3m.zip"
    vault.parent.mkdir()
    with zipfile.ZipFile(vault, "w") as z:
        z.writestr("3m.vlt/Good/metadata.json", '{"version": 1.2}')
    refused("vault_index", "ogmarl", "3m", "good", mirror)
    refused(r"uids \['Good'\], one called poor is needed", "ogmarl", "3m", "poor", mirror)
    vault.write_bytes(vault.read_bytes()[:-10])
    refused("a damaged archive", "ogmarl", "3m", "good", mirror)


def test_whatever_bytes_of_a_file_are_damaged_the_answer_is_one_line(mirror):
    path = as_pymarl(mirror / "icq" / "3m" / "good" / "a.h5", fabricated(3))
    other, rng = mirror / "madt" / "5m_vs_6m" / "good" / "0", np.random.default_rng(0)
    as_madt(other, record("won", 0, **MADT))
    answers = 0
    for file, *names in ((path, "icq", "3m", "good"), (other, "madt", "5m_vs_6m", "good")):
        whole = file.read_bytes()
        for at in rng.integers(8, 8_000, 15):
            file.write_bytes(whole[:at] + rng.bytes(8) + whole[at + 8 :])
            try:
                fetch(*names, mirror)
            except (ValueError, OSError) as e:
                answers += 1
                assert "\n" not in str(e)
    assert answers > 5


@pytest.mark.slow
def test_a_vault_is_refused_without_tensorstore_or_team_pay(mirror, monkeypatch):
    as_vault(mirror / "zip" / "3m.vlt", fabricated(3), pay=[1, 1, 2])
    shutil.make_archive(mirror / "ogmarl" / "3m", "zip", mirror / "zip")
    refused("agents are paid .* no team reward", "ogmarl", "3m", "good", mirror)
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(RuntimeError, match=r"needs tensorstore: pip install -e '\.\[vault\]'"):
        pull("ogmarl", "3m", "good", None, None, mirror.parent)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickle_is_refused_and_never_runs(mirror):
    path = mirror / "madt" / "5m_vs_6m" / "good" / "0"
    path.parent.mkdir(parents=True)
    torch.save([[[Evil(mirror / "ran")]]], path)
    refused("such code is never run here", "madt", "5m_vs_6m", "good", mirror)
    assert not (mirror / "ran").exists()


UNSAFE = ("../x", "a/../../x", "/tmp/x", "C:\\x", "C:x", "..\\x", "link")


@pytest.mark.parametrize("name", UNSAFE)
def test_an_archive_with_a_member_that_leads_outside_is_refused_whole(mirror, name):
    archive = mirror / "ogmarl" / "3m.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("3m.vlt/Good/metadata.json", "{}")
        member = zipfile.ZipInfo(name)
        if name == "link":
            member.external_attr = (stat.S_IFLNK | 0o777) << 16
        z.writestr(member, "/etc")
    refused("leads outside", "ogmarl", "3m", "good", mirror)
    assert not files_in(mirror.parent / "build") and not (mirror.parent / "x").exists()


def test_an_archive_that_unpacks_to_an_absurd_size_is_refused(mirror, monkeypatch):
    archive = mirror / "ogmarl" / "3m.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("zeros", bytes(100_000))
    monkeypatch.setattr(download, "LARGEST", 99_999)
    refused("unpacks to 100000 bytes, 99999 are allowed", "ogmarl", "3m", "good", mirror)


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """An archive of three files, and the folder that it is unpacked to."""
    monkeypatch.setattr(download.paths, "BUILD", tmp_path / "build")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as z:
        for name in ("a/empty", "a/numbers", "b"):
            z.writestr(name, b"" if name == "a/empty" else np.random.default_rng(0).bytes(3_000))
    return tmp_path / "a.zip", download.unpack(tmp_path / "a.zip")


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("damage", ["flip", "shorten", "remove", "add"])
def test_an_unpacked_archive_that_changed_is_unpacked_anew(packed, damage, capsys):
    archive, folder = packed
    whole, file = contents(folder), folder / "a" / "numbers"
    assert len(whole) == 3
    for at in np.random.default_rng(1).integers(0, 3_000, 20 if damage == "flip" else 1):
        x = file.read_bytes()
        if damage == "remove":
            file.unlink()
        elif damage == "add":
            (folder / "new").write_bytes(b"x")
        else:
            file.write_bytes(x[:at] + (bytes([x[at] ^ 4]) + x[at + 1 :] if damage == "flip" else b""))
        assert contents(folder) != whole
        assert download.unpack(archive) == folder and contents(folder) == whole
        assert "unpacking it anew" in capsys.readouterr().out


def test_an_unpacked_archive_is_taken_as_it_is_and_another_one_lies_beside_it(packed, monkeypatch):
    archive, folder = packed
    with zipfile.ZipFile(archive, "a") as z:
        z.writestr("c", "more")
    other = download.unpack(archive)
    assert other != folder and len(contents(other)) == 4 and len(contents(folder)) == 3
    monkeypatch.setattr(zipfile.ZipFile, "extractall", None)
    assert download.unpack(archive) == other


def spoilt(path, key, change):
    with h5py.File(path, "r+") as f:
        x = f[key][()]
        change(x)
        f[key][...] = x


def falls(x):
    """Every episode's rewards become the sums of what follows, a tenth of it, so that the scale alone cannot tell."""
    x[:] = np.cumsum(x[:, ::-1], 1)[:, ::-1] / 10


PYMARL = {
    "an unavailable action": (
        "avail_actions",
        lambda x: x.__setitem__((0, 0), x[0, 0] * 0),
        "actions were not available",
    ),
    "returns-to-go": ("reward", falls, "never increases within 100% .* returns-to-go"),
    "a scale of 200": ("reward", lambda x: np.multiply(x, 10, out=x), "an episode returns .* on a scale of 20"),
    "a gap": ("filled", lambda x: x.__setitem__((2, 3), 0), "filled: episode 2 has a gap"),
    "an empty slot": ("filled", lambda x: x.__setitem__(1, 0), "filled: episode 1 has a gap"),
    "no end": (
        "terminated",
        lambda x: x.__setitem__(1, 0),
        "episode 1 stops unflagged .* terminal transition was dropped",
    ),
    "a death as the end": ("terminated", lambda x: x.__setitem__((0, 2), 1), "episode 0 is flagged elsewhere"),
    "ends that are none": (
        "avail_actions",
        lambda x: x.__setitem__((slice(None), slice(None), slice(1, None), 1), 1),
        "battles end undecided before the limit",
    ),
}


@pytest.mark.parametrize("case", PYMARL)
def test_a_pymarl_file_that_cannot_be_read_truthfully_is_refused(mirror, case):
    key, change, words = PYMARL[case]
    path = as_pymarl(mirror / "icq" / "3m" / "good" / "a.h5", fabricated())
    spoilt(path, key, change)
    refused(words, "icq", "3m", "good", mirror)


def test_battles_of_other_sizes_than_the_maps_are_refused(mirror):
    as_pymarl(mirror / "icq" / "3m" / "good" / "a.h5", fabricated(sizes=(3, 39, 48, 9)))
    refused(r"\[n, O, S, A\] is \[3, 39, 48, 9\].* are \[3, 30, 48, 9\]", "icq", "3m", "good", mirror)
    as_madt(mirror / "madt" / "5m_vs_6m" / "good" / "0", record("won", 0, sizes=(5, 55, 100, 12)))
    refused(r"\[5, 55, 100, 12\], expected \[5, 124, 100, 12\]", "madt", "5m_vs_6m", "good", mirror)


def test_pickles_with_a_lost_end_two_battles_or_unequal_pay_are_refused(mirror):
    b, path = record("won", 3, **MADT), mirror / "madt" / "5m_vs_6m" / "good" / "0"
    as_madt(path, b)

    def spoil(change, words):
        agents = pickles.load(path)
        change(agents)
        torch.save(agents, path)
        refused(words, "madt", "5m_vs_6m", "good", mirror)
        as_madt(path, b)

    spoil(lambda x: [agent.pop() for agent in x], "the terminal transition was dropped")
    spoil(lambda x: [agent.extend(agent[:]) for agent in x], "two battles in one file")
    spoil(lambda x: x[0][2].__setitem__(3, [7.0]), "no team reward")
    assert len(fetch("madt", "5m_vs_6m", "good", mirror)) == 1


def test_repeated_episodes_are_refused_within_a_file_and_over_its_parts(mirror, monkeypatch):
    battles = fabricated(20)
    path = as_pymarl(mirror / "icq" / "3m" / "good" / "a.h5", battles + battles[:2])
    same(fetch("icq", "3m", "good", mirror), battles + battles[:2])  # two copies may be chance
    DataSet("icq", "3m", "good").raw_path(mirror.parent).unlink()
    path.unlink()
    as_pymarl(path, battles + battles[:3])
    refused("3 of 23 episodes repeat an earlier one", "icq", "3m", "good", mirror)
    monkeypatch.setattr("omac.datasets.loaders.starcraft.GROUP", 10)  # parts without a copy of their own
    refused("3 of 23 episodes repeat an earlier one", "icq", "3m", "good", mirror)


def test_a_level_with_another_levels_episodes_is_refused_naming_both(mirror):
    battles = fabricated()
    for level, order in (("medium", 1), ("expert", -1)):
        as_pymarl(mirror / "cfcql" / "3m" / level / "a.h5", battles[::order])
    fetch("cfcql", "3m", "medium", mirror)
    fetch("cfcql", "3m", "medium", mirror)  # again, over itself
    assert "cfcql-3m-medium.h5" in refused(r"cfcql-3m-expert\.h5: level: the same", "cfcql", "3m", "expert", mirror)


def test_sampled_battles_pass_the_new_rules_and_their_returns_to_go_do_not(toy):
    x = {k: getattr(toy, k) for k in Episodes.__dataclass_fields__ if k != "about"}
    check(x, toy.about, "toy.h5")
    positive = replace(toy, reward=np.abs(toy.reward) / 10)
    with pytest.raises(DataError, match="returns-to-go in place of rewards: take the differences"):
        check({**x, "reward": positive.to_go()}, toy.about, "toy.h5")


def test_a_file_joined_with_itself_is_refused(toy, tmp_path):
    toy.select(range(40)).save(tmp_path / "once.h5")
    with pytest.raises(DataError, match=r"state: 4\d of 80 episodes repeat an earlier one"):
        toy.select([*range(40), *range(40)]).save(tmp_path / "twice.h5")


def test_shields_may_raise_a_return_above_20_on_smac_alone(mirror, toy):
    battles = [b._replace(reward=b.reward * np.float32(1.2)) for b in fabricated(4)]
    as_pymarl(mirror / "icq" / "3m" / "good" / "a.h5", battles)
    assert fetch("icq", "3m", "good", mirror).returns.max() == pytest.approx(24)
    x = {k: getattr(toy, k) for k in Episodes.__dataclass_fields__ if k != "about"}
    with pytest.raises(DataError, match="on a scale of 20"):
        check({**x, "reward": toy.reward * np.float32(1.2)}, toy.about, "toy.h5")


def test_unknown_names_and_missing_files_are_answered_with_what_to_do(mirror, monkeypatch):
    for match, *names in (
        (r"unknown source 'x'; there are smax .* odis, omiga", "x", "3m", "good"),
        ("odis has no map '8m'; there is 3m", "odis", "8m", "medium"),
        ("omiga has no level 'expert'; there are good, medium, poor", "omiga", "corridor", "expert"),
        ("not made of letters", "icq", "..", "good"),
        ("OMAC_MIRROR has another layout: unset it to download https", "odis", "3m", "medium"),
        ("MADT's data is closed.*put it at <OMAC_MIRROR>/madt/corridor/good/", "madt", "corridor", "good"),
    ):
        refused(match, *names, mirror)
    monkeypatch.delenv("OMAC_MIRROR")
    refused("no address to download it from .*set OMAC_MIRROR", "madt", "corridor", "good", mirror)


# --- the network


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `body`, breaks off after `gives[i]` bytes in connection i, and knows Range if `ranges`."""

    body, gives, ranges, asked = b"", [], True, []

    def do_GET(self):
        cls, want = type(self), self.headers.get("Range")
        give = cls.gives.pop(0) if cls.gives else len(cls.body)
        cls.asked.append(want)
        at = int(want[6:-1]) if want and cls.ranges else 0
        if self.path != "/odis/3m/medium/part_0.h5":
            return self.send_error(404)
        if at and at >= len(cls.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(cls.body)}")
            return self.end_headers()
        self.send_response(206 if at else 200)
        if at:
            self.send_header("Content-Range", f"bytes {at}-{len(cls.body) - 1}/{len(cls.body)}")
        self.send_header("Content-Length", str(len(cls.body) - at))
        self.end_headers()
        self.wfile.write(cls.body[at : at + give])
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server on this machine that OMAC_MIRROR names, with one PyMARL file whose digest is known."""
    body = as_pymarl(tmp_path / "x.h5", fabricated()).read_bytes()
    there = type("There", (Server,), {"body": body, "gives": [], "asked": []})
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), there)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OMAC_MIRROR", f"http://127.0.0.1:{httpd.server_port}/")
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    known = {("3m", "medium"): hashlib.sha256(body).hexdigest()}
    monkeypatch.setitem(catalogue.SOURCES, "odis", replace(catalogue.SOURCES["odis"], sha256=known))
    yield there
    httpd.shutdown()
    httpd.server_close()


def files_in(folder):
    """The files below a folder, those aside that keep a second process waiting."""
    return [p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"]


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    server.gives = [200_000]
    same(fetch("odis", "3m", "medium", tmp_path / "x"), fabricated())
    first, second = server.asked
    assert first is None and 100_000 < int(second[6:-1]) <= 200_000


def test_a_download_that_keeps_breaking_is_kept_for_the_next_run(server, tmp_path):
    server.gives = [200_000, 0, 0, 0]
    words = refused("after .* bytes; the same command goes on from there", "odis", "3m", "medium", tmp_path / "x")
    assert "OMAC_MIRROR" in words and "odis/3m/medium/part_0.h5" in words
    kept = [p.stat().st_size for p in files_in(tmp_path / "build")]
    server.gives = []
    assert len(fetch("odis", "3m", "medium", tmp_path / "x")) == 12
    assert server.asked[-1] == f"bytes={kept[0]}-" and kept[0] > 100_000


def test_a_server_that_ignores_range_is_read_anew(server, tmp_path):
    server.gives, server.ranges = [200_000], False
    same(fetch("odis", "3m", "medium", tmp_path / "x"), fabricated())
    assert server.asked[1].startswith("bytes=")


@pytest.mark.parametrize("extra", [0, 7])
def test_a_part_file_that_is_whole_or_too_long_is_settled_by_416(server, tmp_path, extra):
    part = tmp_path / "build" / "downloads" / "odis-3m-medium-part_0.h5.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(server.body + b"x" * extra)
    assert len(fetch("odis", "3m", "medium", tmp_path / "x")) == 12
    assert len(server.asked) == (2 if extra else 1)


def test_a_download_with_another_digest_is_deleted_and_both_digests_are_named(server, tmp_path):
    good = hashlib.sha256(server.body).hexdigest()
    server.body = server.body[:9000] + bytes([server.body[9000] ^ 1]) + server.body[9001:]
    words = refused("sha256", "odis", "3m", "medium", tmp_path / "x")
    assert good in words and hashlib.sha256(server.body).hexdigest() in words
    assert not files_in(tmp_path / "build")


def test_an_address_that_is_not_there_is_named_with_the_remedy(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OMAC_MIRROR", os.environ["OMAC_MIRROR"] + "nowhere")
    refused("nowhere/odis/3m/medium/part_0.h5: 404 .*OMAC_MIRROR", "odis", "3m", "medium", tmp_path / "x")
    monkeypatch.setenv("OMAC_MIRROR", "http://127.0.0.1:9")
    refused("127.0.0.1:9/odis.* ConnectionError after 0 bytes.*OMAC_MIRROR", "odis", "3m", "medium", tmp_path / "x")


def test_a_file_address_is_a_folder_mirror(mirror, monkeypatch):
    as_pymarl(mirror / "icq" / "3m" / "good" / "a.h5", fabricated())
    monkeypatch.setenv("OMAC_MIRROR", mirror.as_uri())
    assert len(fetch("icq", "3m", "good", mirror)) == 12


def test_the_step_limits_cover_every_map_that_is_listed():
    for entry in catalogue.SOURCES.values():
        assert set(entry.maps or ()) <= set(LIMITS)
