"""StarCraft II behind the Battle contract, against a double that follows the package's methods; no game is needed."""

import gc
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from starcraft_double import MAPS, Double

from conftest import ABOUT
from omac.data.episodes import Episodes
from omac.data.validation import DataError
from omac.envs import make, missing
from omac.envs.smac import madt_obs
from omac.envs.smac.env import Smac, most_battles
from omac.envs.smac.worker import Game
from omac.evaluation import rollout

pytestmark = pytest.mark.slow

DOUBLE = "starcraft_double:Double"
PROTOSS, MARINES = "1s1z_vs_2z", "2m_vs_1m"
WIDTHS = {  # n, actions, step limit; observation: stock, stock with last actions, MADT's
    "5m_vs_6m": (5, 12, 70, 55, 103, 124),
    "6h_vs_8z": (6, 14, 150, 78, 148, 172),
    "3s5z_vs_3s6z": (8, 15, 170, 136, 241, 268),
    "corridor": (6, 30, 400, 156, 306, 346),
}


def smac(map_name, battles, **settings):
    return Smac(map_name, battles, factory=DOUBLE, **settings)


def choose(avail, seed, t):
    """Random actions int [E,n] that depend on the battle's seed and step alone."""
    draws = [np.random.default_rng([s, k]).random(a.shape) for s, k, a in zip(seed, t, avail, strict=True)]
    return np.where(avail, draws, -1).argmax(-1)


def fight(battle, seeds, most=99):
    """The battles of these seeds to their ends: the first view and every Step."""
    view, steps, over, t = battle.reset(np.array(seeds)), [], np.zeros(len(seeds), bool), 0
    first = view
    while not over.all() and t < most:
        steps.append(battle.step(choose(view.avail, seeds, [t] * len(seeds))))
        view, t = steps[-1].view, t + 1
        over = steps[-1].terminated | steps[-1].truncated
    return first, steps


def assert_same(one, other):
    assert len(one[1]) == len(other[1])
    for x, y in zip([one[0], *one[1]], [other[0], *other[1]], strict=True):
        for a, b in zip([*x[0], *x[1:]] if len(x) == 5 else x, [*y[0], *y[1:]] if len(y) == 5 else y, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module", params=["stock", "madt"])
def fought(request):
    """Four battles of random actions, a time-out, two defeats and a win, to their ends and two steps beyond."""
    with smac(PROTOSS, 4, observation=request.param) as battle:
        first, steps = fight(battle, [0, 1, 2, 4])
        steps += [battle.step(np.full((4, 2), -1)) for _ in range(2)]
        yield battle, [first] + [s.view for s in steps], steps


def test_sizes_and_types_are_those_of_the_spec_and_the_version_names_package_and_game(fought):
    battle, views, steps = fought
    spec = battle.spec
    assert (spec.env, spec.obs) in {("smac", 4 + 2 * 8 + 8 + 4), ("smac-madt", 4 + 2 * 8 + (8 + 8) + (4 + 4 + 8) + 2)}
    assert (spec.map, spec.n, spec.state, spec.actions, spec.horizon) == (PROTOSS, 2, 16, 8, 12)
    assert battle.version == "starcraft_double unknown, StarCraft II 4.10.0 (build 75689)"
    for view in views:
        assert view.obs.shape == (4, 2, spec.obs) and view.obs.dtype == np.float32
        assert view.state.shape == (4, 16) and view.state.dtype == np.float32
        assert view.avail.shape == (4, 2, 8) and view.avail.dtype == bool and view.avail.any(-1).all()
    for step in steps:
        assert step.reward.dtype == np.float32 and all(x.dtype == bool for x in step[2:])


def test_a_finished_battle_stays_as_it_was_whatever_it_is_told(fought):
    _, _, steps = fought
    for x, y in zip(steps[-3].view, steps[-1].view, strict=True):
        np.testing.assert_array_equal(x, y)
    assert (steps[-1].reward == 0).all() and (steps[-1].terminated == steps[-3].terminated).all()
    assert (steps[4].terminated | steps[4].truncated).any() and len(steps) > 10  # one waited for the others


def test_defeat_win_and_time_limit_are_told_apart(fought):
    last, total = fought[2][-1], sum(s.reward.astype(float) for s in fought[2])
    assert last.terminated.tolist() == [False, True, True, True] and last.truncated.tolist() == [
        True,
        False,
        False,
        False,
    ]
    assert last.won.tolist() == [False, False, False, True] and (total > 10).tolist() == last.won.tolist()


@pytest.mark.parametrize("late", [0, 1, 3])
def test_a_won_battle_is_worth_20_however_late_its_units_appear(late):
    """The package adds up the enemies that it sees at every look, while it waits for those that are still to come."""
    with smac(PROTOSS, 1, late=late) as battle:
        for _ in range(2):  # the units are counted at the launch alone
            _, steps = fight(battle, [4])
            assert steps[-1].won.all()
            assert sum(float(s.reward[0]) for s in steps) == pytest.approx(20)


def test_a_dead_agent_can_only_do_nothing_and_is_blank_but_for_its_id_in_madt_s_order(fought):
    battle, views, _ = fought
    dead = np.stack([v.avail[..., 0] for v in views])
    assert dead.any() and (np.stack([v.avail for v in views])[dead].sum(-1) == 1).all()
    obs = np.stack([v.obs for v in views])
    if battle.spec.env == "smac-madt":
        np.testing.assert_array_equal(obs[..., -2:], np.broadcast_to(np.eye(2), (*obs.shape[:-1], 2)))
        obs = obs[..., :-2]
    assert (obs[dead] == 0).all() and (obs[~dead] != 0).any(-1).all()


def test_the_same_seeds_give_the_same_battles_and_where_restarts_only_those(fought):
    battle, views, steps = fought
    again = battle.reset(np.arange(4), np.array([True, False, False, False]))
    np.testing.assert_array_equal(again.obs[0], views[0].obs[0])
    np.testing.assert_array_equal(again.obs[1:], views[-1].obs[1:])
    assert_same(fight(battle, [0, 1, 2, 4]), (views[0], steps[:-2]))
    assert not np.array_equal(battle.reset(np.arange(4) + 100).state, views[0].state)


def test_what_the_contract_forbids_is_refused_by_name():
    with smac(MARINES, 2) as battle:
        with pytest.raises(RuntimeError, match="step before reset"):
            battle.step(np.ones((2, 2), int))
        with pytest.raises(ValueError, match="first reset"):
            battle.reset(np.arange(2), np.array([True, False]))
        with pytest.raises(ValueError, match=r"need \(2,\)"):
            battle.reset(np.arange(3))
        battle.reset(np.arange(2))
        with pytest.raises(ValueError, match="battle 1, agent 0: action 0 is not available"):
            battle.step(np.array([[1, 1], [0, 1]]))
        battle.step(np.ones((2, 2), int))  # a refused action costs nothing
    with pytest.raises(RuntimeError, match="closed"):
        battle.reset(np.arange(2))
    with pytest.raises(ValueError, match="no observation 'global'"):
        smac(MARINES, 1, observation="global")


def test_own_last_actions_are_those_that_were_played():
    with smac(MARINES, 2, observation="madt") as battle:
        view, own = battle.reset(np.array([5, 6])), slice(-2 - 7, -2)
        assert (view.obs[..., own] == 0).all()
        for t in range(4):
            action = choose(view.avail, [5, 6], [t, t])
            view = battle.step(action).view
            alive = ~view.avail[..., 0]
            np.testing.assert_array_equal(view.obs[..., own], np.eye(7)[action] * alive[..., None])
        assert (battle.reset(np.array([5, 6]), np.array([True, False])).obs[0][:, own] == 0).all()


def test_the_time_limit_truncates_and_does_not_terminate():
    with smac(MARINES, 1, limit=3) as battle:
        assert battle.spec.horizon == 3
        battle.reset(np.array([0]))
        for t in range(3):
            step = battle.step(np.where(battle.reset(np.array([0]), np.array([False])).avail[..., 1], 1, 0))
            assert (step.truncated == (t == 2)).all() and not step.terminated.any() and not step.won.any()


@pytest.fixture(scope="module")
def undisturbed():
    """The battles of seeds 0 and 1 as they are without a crash."""
    with smac(PROTOSS, 2, observation="madt") as battle:
        return fight(battle, [0, 1])


@pytest.mark.parametrize(
    ("how", "step", "times"),
    [("raise", 4, 2), ("die", 4, 1), ("lost", 4, 1), ("hang", 4, 1), ("lost", 0, 1)],
)
def test_a_crash_is_replayed_and_the_battle_is_the_one_it_would_have_been(how, step, times, tmp_path, undisturbed):
    tally, timeout = tmp_path / "tally", 4.0 if how == "hang" else 300.0
    with smac(PROTOSS, 2, observation="madt", timeout=timeout, fault=(how, 1, step, times, str(tally))) as battle:
        assert_same(fight(battle, [0, 1]), undisturbed)
    assert tally.read_text() == "x" * times


@pytest.mark.parametrize(("how", "step"), [("differs", 3), ("early", 1)])
def test_a_replay_that_differs_or_ends_early_is_refused(how, step, tmp_path):
    with smac(PROTOSS, 2, fault=(how, 1, 4, 1, str(tmp_path / "tally"))) as battle:
        with pytest.raises(RuntimeError, match=f"battle 1, seed 1, step {step}: .*replay of this battle differs") as e:
            fight(battle, [0, 1])
        assert "\n" not in str(e.value)


def begun_since(before):
    """Processes of ours that run now and did not in the set `before`; those may end meanwhile, and have no order."""
    return set(multiprocessing.active_children()) - before


def test_too_many_crashes_end_with_one_line_and_leave_no_process(tmp_path):
    before = set(multiprocessing.active_children())
    battle = smac(PROTOSS, 2, restarts=1, fault=("raise", 1, 3, 9, str(tmp_path / "tally")))
    with pytest.raises(
        RuntimeError, match="battle 1, seed 1, step 2: StarCraft II crashed 2 times, .*socket broke"
    ) as e:
        fight(battle, [0, 1])
    assert "\n" not in str(e.value) and (tmp_path / "tally").read_text() == "xx"
    assert not begun_since(before)
    with pytest.raises(RuntimeError, match="closed"):
        battle.reset(np.arange(2))


def test_in_a_running_game_battles_go_on_and_a_crash_is_refused_because_nothing_repeats(monkeypatch):
    monkeypatch.setenv("OMAC_SC2_FRESH", "0")
    with smac(PROTOSS, 1) as battle:
        first = fight(battle, [1])
        second = fight(battle, [1])  # the game launched with seed 1 goes on
        assert not np.array_equal(second[0].state, first[0].state)
        fight(battle, [1], most=1)
        third = fight(battle, [1])  # left in the middle, so a game was launched
        assert_same(first, third)
        np.testing.assert_array_equal(battle.reset(np.array([1])).state, second[0].state)
        battle._fights[0].slot.process.kill()
        with pytest.raises(RuntimeError, match="battle 0, seed 1, step 0: .* did not begin in a game of its own"):
            battle.step(np.ones((1, 2), int))


def test_observations_of_another_width_are_refused_by_both_widths(tmp_path):
    with pytest.raises(ValueError, match="says observations of width 41, MADT's order rearranges 40"):
        smac(PROTOSS, 1, observation="madt", wide=1)
    with smac(PROTOSS, 1, observation="stock", wide=1) as battle:
        assert battle.spec.obs == 33  # the package's own word is good enough for its own observation
    battle = smac(PROTOSS, 1, fault=("width", 1, 0, 1, str(tmp_path / "tally")))
    with pytest.raises(ValueError, match=r"get_obs gave \(2, 7\), get_env_info says \(2, 32\)"):
        battle.reset(np.array([1]))


@pytest.mark.parametrize("name", WIDTHS)
def test_the_widths_of_the_four_maps_are_the_package_s_and_madt_s(name):
    n, actions, limit, stock, with_last, rearranged = WIDTHS[name]
    about = Game(DOUBLE, {"map_name": name}).about()
    layout = madt_obs.Layout(*about["layout"])
    assert (layout.n, layout.actions, about["episode_limit"]) == (n, actions, limit)
    assert sum(madt_obs.parts(layout, False)) == stock == about["obs_shape"]
    assert (
        sum(madt_obs.parts(layout, True)) == with_last == Double(name, obs_last_action=True).get_env_info()["obs_shape"]
    )
    assert madt_obs.width(layout) == rearranged


def stand(map_name, at, health, shield, last):
    """MADT's observations of a double whose units stand as told."""
    double = Double(map_name, seed=0, obs_last_action=True)
    double.reset()
    double.close()
    double.at, double.health, double.shield = np.array(at, float), np.array(health), np.array(shield)
    double.one_hot = np.eye(double.n_actions)[last]
    n, enemies, *shields, types, _ = MAPS[map_name]
    layout = madt_obs.Layout(n, enemies, *shields, types, double.n_actions)
    return madt_obs.rearrange(np.stack(double.get_obs()), double.one_hot, layout)


def test_madt_s_order_with_shields_and_types_is_allies_enemies_moves_own_last_action_and_id():
    at, health, shield = [(0, 0), (3, 4), (0, 3), (20, 20)], [0.75, 0.5, 0.25, 1], [0.5, 0.25, 1, 1]
    expected = [
        *[1, 5 / 9, 3 / 9, 4 / 9, 0.5, 0.25, 0, 1, *[0, 0, 0, 0, 0, 0, 1, 0]],  # ally: shot at enemy 0
        *[1, 3 / 9, 0, 3 / 9, 0.25, 1, 1, 0],  # enemy 0, in range
        *[0, 0, 0, 0, 0, 0, 0, 0],  # enemy 1, out of sight
        *[1, 0, 1, 0],  # north and east are free
        *[1, 0, 0, 0, 0.75, 0.5, 1, 0, *[0, 0, 0, 1, 0, 0, 0, 0]],  # own: went south
        *[1, 0],
    ]
    np.testing.assert_allclose(stand(PROTOSS, at, health, shield, [3, 6])[0], expected, rtol=1e-6)
    alone = stand(PROTOSS, at, [0.75, 0, 0.25, 1], shield, [3, 6])
    np.testing.assert_array_equal(alone[1], [0] * (len(expected) - 1) + [1])
    assert (alone[0][:16] == 0).all() and (alone[0][16:] != 0).any()


def test_madt_s_order_without_shields_and_types():
    got = stand(MARINES, [(0, 0), (0, 9), (0, 7)], [0.75, 0.5, 0.25], [9, 9, 9], [1, 4])
    expected = [
        *[0] * 5, *[0] * 7,  # the ally stands just out of sight
        *[0, 7 / 9, 0, 7 / 9, 0.25],  # an enemy in sight, out of range
        *[1, 0, 1, 0],
        *[1, 0, 0, 0, 0.75, *[0, 1, 0, 0, 0, 0, 0]],
        *[1, 0],
    ]  # fmt: skip
    np.testing.assert_allclose(got[0], expected, rtol=1e-6)
    assert got[1][-2:].tolist() == [0, 1]


def test_rollouts_pass_the_checks_of_data(tmp_path):
    with smac(PROTOSS, 2, observation="madt") as battle:
        seeds = np.arange(6, dtype=np.uint32).reshape(2, 3)
        data = rollout(battle, lambda obs, avail, seed, t: choose(avail, seed, t), seeds, ABOUT)
        assert (data.about["env"], data.about["map"]) == ("smac-madt", PROTOSS) and len(data.win) == 6
        data.save(tmp_path / "battles.h5")
    Episodes.load(tmp_path / "battles.h5")
    assert data.win.any() and not data.win.all()
    data.about["sizes"][1] -= 1
    with pytest.raises(DataError):
        data.save(tmp_path / "other.h5")


def test_closing_or_forgetting_battles_closes_the_games_and_leaves_no_process(tmp_path):
    before = set(multiprocessing.active_children())
    with smac(MARINES, 2, closed=str(tmp_path / "closed")) as battle:
        assert len(begun_since(before)) == 1  # the sizes need one process and no game
        battle.reset(np.arange(2))
        started = begun_since(before)
    assert len(started) == 2 and not begun_since(before) and (tmp_path / "closed").exists()
    battle = smac(MARINES, 1)
    del battle
    gc.collect()
    assert not begun_since(before)


def test_a_process_whose_parent_is_gone_closes_its_game_and_goes(tmp_path):
    script = tmp_path / "lost.py"
    script.write_text(
        "import os, sys\nimport numpy as np\nfrom omac.envs.smac.env import Smac\n"
        f"b = Smac('{MARINES}', 1, factory='{DOUBLE}', closed={str(tmp_path / 'closed')!r})\nb.reset(np.arange(1))\n"
        "print(b._fights[0].slot.process.pid, flush=True)\nos._exit(1)\n"  # no guard: processes must not import the script
    )
    path = os.pathsep.join([os.path.dirname(__file__), os.getcwd(), *sys.path])
    run = subprocess.run(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60
    )  # ends when its output is closed by the last of its processes
    assert run.stdout.strip().isdigit(), run.stderr
    assert (tmp_path / "closed").exists()


@pytest.mark.parametrize(
    ("game", "said"), [("folder", "Versions"), ("map", "Map x not found"), ("version", "Unknown game version")]
)
def test_whoever_has_no_game_or_no_maps_is_told_in_one_line_what_to_install(game, said):
    battle = smac(MARINES, 1, game=game)
    with pytest.raises(RuntimeError, match=f"{said}.*install StarCraft II 4.10, set SC2PATH") as e:
        battle.reset(np.arange(1))
    assert "\n" not in str(e.value)


def spoilt(how):
    """A program that is there and does not run here, and what is said of it."""
    whole = Path("/bin/true").read_bytes()
    loader = re.search(rb"(/[\w/.+-]*/ld-[\w.+-]+)\0", whole)[1]
    return {
        "mode": (whole, r"is not executable: `chmod \+x "),
        "machine": (
            whole[:18] + b"\x2b\x00" + whole[20:],
            r"is a program for Linux on machine 43; this machine is Linux on ",
        ),
        "system": (b"MZ" + whole[2:], "is a program for Windows; this machine is Linux on "),
        "page": (b"<html>", r"is no program \(it begins with b'<html>'\)"),
        "library": (whole.replace(b"libc.so.6\0", b"libq.so.6\0"), "needs libq.so.6, not on this machine"),
        "version": (whole.replace(b"GLIBC_2.34\0", b"GLIBC_9.34\0"), "needs GLIBC_9.34, not on this machine"),
        "loader": (whole.replace(loader, loader[:-1] + b"9"), f"needs {loader[:-1].decode()}9, not on this machine"),
    }[how]


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("ldd"), reason="not Linux, or without ldd")
@pytest.mark.parametrize("how", ["mode", "machine", "system", "page", "library", "version", "loader"])
def test_a_game_that_cannot_be_run_is_said_to_be_that_at_the_first_try(how, tmp_path):
    """Not a crash, which would be tried again and blamed on too many battles."""
    content, said = spoilt(how)
    if content == Path("/bin/true").read_bytes() and how != "mode":
        pytest.skip("this system's programs are linked in another way")
    program = tmp_path / "Versions" / "Base75689" / "SC2_x64"
    program.parent.mkdir(parents=True)
    program.write_bytes(content)
    program.chmod(0o644 if how == "mode" else 0o755)
    battle = smac(MARINES, 1, program=str(program))
    with pytest.raises(RuntimeError, match=f"StarCraft II is there and cannot be run: {program} {said}") as e:
        battle.reset(np.arange(1))
    assert "\n" not in str(e.value) and "fewer" not in str(e.value)


@pytest.mark.skipif(sys.platform != "linux", reason="not Linux")
def test_a_game_that_dies_before_it_answers_is_to_be_started_by_hand(tmp_path):
    program = tmp_path / "Versions" / "Base75689" / "SC2_x64"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    battle = smac(MARINES, 1, program=str(program), restarts=1)
    with pytest.raises(RuntimeError, match="crashed 2 times before the battle began.*websocket.*start it by hand") as e:
        battle.reset(np.arange(1))
    assert "\n" not in str(e.value)


def test_an_unknown_map_or_setting_is_named():
    with pytest.raises(ValueError, match="no SMAC map '3m_in_a_boat'"):
        smac("3m_in_a_boat", 1)
    with pytest.raises(RuntimeError, match="no environment could be made: TypeError: .*speed"):
        smac(MARINES, 1, speed=3)


def test_make_finds_the_package_and_the_observation_by_the_name(tmp_path, monkeypatch, forget_smac):
    (tmp_path / "smac").mkdir()
    (tmp_path / "smac" / "__init__.py").write_text("")
    (tmp_path / "smac" / "env.py").write_text("from starcraft_double import Double as StarCraft2Env\n")
    monkeypatch.syspath_prepend(tmp_path)
    for env, width in (("smac", 136), ("smac-madt", 268)):
        with make(f"{env}:3s5z_vs_3s6z", 1) as battle:
            assert (battle.spec.env, battle.spec.obs, battle.spec.horizon) == (env, width, 170)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise TypeError('Descriptors cannot be\\ncreated')", "TypeError: Descriptors cannot be"),
        ("import os; os.abort()", "its process ended with -6"),
    ],
    ids=["raises", "crashes"],
)
def test_a_package_that_cannot_be_imported_is_named_with_the_version_that_it_needs(
    code, said, tmp_path, monkeypatch, forget_smac
):
    """As with a protobuf of 3.21 or newer; it is tried in a process of its own."""
    (tmp_path / "smac").mkdir()
    (tmp_path / "smac" / "__init__.py").write_text("")
    (tmp_path / "smac" / "env.py").write_text(code)
    about = tmp_path / "SMAC-1.0.0.dist-info" / "METADATA"
    about.parent.mkdir()
    needs = ["protobuf<3.0", "numpy>=1.10", "pysc2x>=3", "black; extra == 'dev'"]
    lines = ["Metadata-Version: 2.1", "Name: SMAC", "Version: 1.0.0", *(f"Requires-Dist: {need}" for need in needs)]
    about.write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    reason = missing("smac:3m")
    here = metadata.version("protobuf")
    assert said in reason and "\n" not in reason and "numpy" not in reason and "black" not in reason
    assert f"protobuf <3.0 is needed, {here} is here; pysc2x >=3 is needed, none is here" in reason
    with pytest.raises(RuntimeError, match="cannot be imported"):
        make("smac:3m", 1)


def test_how_many_games_run_at_once_is_told_by_the_cores_or_the_environment_variable(monkeypatch):
    monkeypatch.delenv("OMAC_SC2_PROCESSES", raising=False)
    assert 1 <= most_battles() <= os.cpu_count()
    monkeypatch.setenv("OMAC_SC2_PROCESSES", "7")
    assert most_battles() == 7
    monkeypatch.setenv("OMAC_SC2_PROCESSES", "many")
    with pytest.raises(ValueError, match="'many'"):
        most_battles()
    monkeypatch.setenv("OMAC_SC2_FRESH", "false")
    with pytest.raises(ValueError, match="OMAC_SC2_FRESH is 'false'; it must be 1.* or 0"):
        smac(MARINES, 1)


def test_the_processes_import_neither_torch_nor_jax():
    code = "import sys, omac.envs.smac.env; sys.exit(bool({'torch', 'jax', 'h5py'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
