"""What `make bench` measures. Every ratio is of numbers taken in turn, in one run, on one machine."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from unittest import mock

import numpy as np
import stepwise_mappo
import torch
from costs import SNAPSHOTS, TRAINING, phases_of
from torch import profiler
from torch.utils.flop_counter import FlopCounterMode

from omac import algorithms
from omac.behaviour import levels, mappo
from omac.config.hyper import load_params, of_policies, settings
from omac.datasets import registry
from omac.envs import make
from omac.evaluation import SLOTS, battle_seeds, evaluate
from omac.paths import ROOT
from omac.schema import PUBLISHED
from omac.training.trainer import Trainer

sys.path.append(str(ROOT / "examples"))
import omac_single_file  # noqa: E402

ROUNDS, STEPS = 7, 4  # rounds of a comparison, gradient steps in each
TURNS = 4  # battles that each slot of the simulator fights one after another: in a cell it is four and five
FEW = 200  # episodes that are enough to time a step on, where many data sets are
PEERS = {"value": "update_values", "policy": "update_policy"}  # functions of the single file


def seconds(work, times=1):
    """Seconds that one of `times` calls of work() takes."""
    begun = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - begun) / times


def in_turn(works, rounds=ROUNDS):
    """Seconds [rounds, len(works)] of each of works, taken in turn: a slow moment of the machine meets all of them."""
    for work in works:
        work()  # warm
    return np.array([[seconds(work) for work in works] for _ in range(rounds)])


def product(hyper, spec, seeds):
    """The matrix product that training mostly consists of: [K, B n, hidden] x [K, hidden, hidden]; (work, FLOPs)."""
    rows, width = hyper.batch_size * spec.n, hyper.hidden
    x, w = torch.randn(seeds, rows, width), torch.randn(seeds, width, width)
    times = 10

    def work():
        for _ in range(times):
            torch.bmm(x, w)

    return work, times * 2 * seeds * rows * width * width


def stepper(data, algorithm, hyper, seeds, phase="value", policies=None):
    """A function that makes STEPS gradient steps of all seeds in a phase: of the values, the policies, or both ("joint")."""
    run = Trainer(data, algorithms.get(algorithm), hyper, seeds, policies)
    if phase == "policy":
        run.finish_values()
    at = iter(range(10**9))

    def work():
        for _ in range(STEPS):
            run.step(next(at), phase)

    return work


def gradient_steps(data, hyper, seeds):
    """(a) A row per algorithm and phase: ms and GFLOP per seed and step, and the rate as a share of the matrix product's beside it."""
    gemm, gemm_flops = product(hyper, data.spec, len(seeds))
    rows = []
    for name, phase in [(alg, phase) for alg in algorithms.REGISTRY for phase in phases_of(alg, hyper)]:
        work = stepper(data, name, hyper, seeds, phase)
        with FlopCounterMode(display=False) as counter:
            work()
        flops = counter.get_total_flops()
        t = in_turn([work, gemm], 5)
        share = (flops / t[:, 0]) / (gemm_flops / t[:, 1])
        each = STEPS * len(seeds)
        rows.append(
            {
                "algorithm": name,
                "phase": phase,
                "ms per seed-step": np.median(t[:, 0]) / each * 1e3,
                "GFLOP per seed-step": flops / each / 1e9,
                "GFLOP/s": np.median(flops / t[:, 0]) / 1e9,
                "matrix product, GFLOP/s": np.median(gemm_flops / t[:, 1]) / 1e9,
                "share": np.median(share),
            }
        )
    return rows


OPERATIONS = {
    "matrix products": ("aten::bmm", "aten::baddbmm"),
    "copies: biases into products, batches, gradients": (
        "aten::copy_",
        "aten::index",
        "aten::index_select",
        "aten::cat",
    ),
    "ReLU and its gradient": ("aten::clamp_min_", "aten::relu_", "aten::threshold_backward"),
    "Adam, clipping, target update": ("aten::_fused_adam_", "aten::lerp_", "aten::linalg_vector_norm", "aten::mul_"),
}


def where_it_goes(data, hyper, seeds):
    """(a) A row per kind of operation of a step of OMAC's values: its share of the time that torch's profiler sees."""
    work = stepper(data, "omac", hyper, seeds)
    work()
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as seen:
        for _ in range(ROUNDS):
            work()
    spent = {x.key: x.self_cpu_time_total for x in seen.key_averages()}
    total = sum(spent.values())
    shares = {kind: sum(spent.get(name, 0) for name in names) / total for kind, names in OPERATIONS.items()}
    shares["everything else: sums, losses, Python, the autograd graph"] = 1 - sum(shares.values())
    return [{"operation": kind, "share of the time": x} for kind, x in shares.items()]


def layouts(data, hyper, seeds):
    """How a step of OMAC's values may be laid out: a row for all seeds stacked, for one alone, and for all on two threads.

    Core-ms per seed and step: what counts where two cells run side by side, a core each.
    """
    kinds = [(len(seeds), 1), (1, 1), (len(seeds), 2)]
    works = [stepper(data, "omac", hyper, seeds[:count]) for count, _ in kinds]

    def on(threads, work):
        torch.set_num_threads(threads)
        work()
        torch.set_num_threads(1)

    t = in_turn([partial(on, n, work) for (_, n), work in zip(kinds, works, strict=True)], 4)
    return [
        {"seeds stacked": count, "threads": n, "core-ms per seed-step": x / STEPS / count * n * 1e3}
        for (count, n), x in zip(kinds, np.median(t, 0), strict=True)
    ]


def temperatures(data, hyper, seeds, policies):
    """(e) Seconds of one step of all seeds, taken in turn: {"joint", "value", "policy": with one policy of each seed, "policies":
    with one for each of `policies` {temperature: Hyper}}.
    """
    kinds = {
        "joint": stepper(data, "omac", hyper, seeds, "joint"),
        "value": stepper(data, "omac", hyper, seeds, "value"),
        "policy": stepper(data, "omac", hyper, seeds, "policy"),
        "policies": stepper(data, "omac", hyper, seeds, "policy", policies),
    }
    t = np.median(in_turn(list(kinds.values())), 0) / STEPS
    return dict(zip(kinds, t.tolist(), strict=True))


def peer_stepper(path, hyper, seed, phase):
    """A function that makes STEPS updates of examples/omac_single_file.py, of one seed and phase, on the data set at `path`."""
    torch.manual_seed(seed)
    data = omac_single_file.read(path, hyper.gamma)
    nets = omac_single_file.Networks(data, hyper)
    adam = dict(zip(PEERS, omac_single_file.optimisers(nets, hyper), strict=True))[phase]

    def work():
        for _ in range(STEPS):
            batch = omac_single_file.draw(data, hyper.batch_size)
            getattr(omac_single_file, PEERS[phase])(nets, adam, batch, hyper)

    return work


def against_the_peer(data, path, hyper, seeds):
    """(d) OMAC here, on `data`, against the plain single file, on the same at `path`, per seed and with one policy.

    Returns (rows, {phase: the plain one's time over ours}, that of all steps of both phases in each round).
    """
    phases = phases_of("omac", hyper)
    ours = [stepper(data, "omac", hyper, seeds, phase) for phase in phases]
    theirs = [peer_stepper(path, hyper, seeds[0], phase) for phase in phases]
    t = in_turn([*ours, *theirs]) / STEPS
    ours, theirs = t[:, : len(phases)] / len(seeds), t[:, len(phases) :]
    steps = np.array(list(phases.values()))
    rows = [
        {
            "a step of": {"value": "the values", "policy": "the policy"}[phase],
            f"ours, {len(seeds)} seeds stacked: ms per seed-step": a * 1e3,
            "plain single-seed PyTorch": b * 1e3,
        }
        for phase, a, b in zip(phases, np.median(ours, 0), np.median(theirs, 0), strict=True)
    ]
    by_phase = dict(zip(phases, np.median(theirs / ours, 0).tolist(), strict=True))
    return rows, by_phase, (theirs @ steps) / (ours @ steps)


def battles(env, sizes, policy_states, net):
    """(b) A row per number of battles side by side: battles and battle-steps per second, and seconds to compile."""
    rows = []
    for size in sizes:
        seeds = battle_seeds(9, size, shape=(1, size))
        first = seconds(lambda s=seeds: evaluate(env, net, policy_states, s))
        got = []
        again = seconds(lambda s=seeds, g=got: g.append(evaluate(env, net, policy_states, s)))
        rows.append(
            {
                "battles side by side": size,
                "battles per second": size / again,
                "battle-steps per second": got[0].length.sum() / again,
                "first call, extra s": first - again,
            }
        )
    return rows


def behaviour_training(map_name, rounds=3):
    """(f) Training of the behaviour policies against the stepwise one, an update of each in turn.

    Returns (rows, the ratios of battle-steps per second of all rounds).
    """
    env, s = f"smax:{map_name}", mappo.SETTINGS.get(map_name, mappo.Mappo())
    with closing(make(env, stepwise_mappo.SLOTS)) as battle:
        ways = {
            "ours": (mappo.battles_of(env, s.slots).fight, mappo.ppo_update),
            "stepwise": (partial(stepwise_mappo.fight, battle), stepwise_mappo.update),
        }
        nets = [mappo.actor_critic(battle.spec, 0, s) for _ in ways]
        spent = np.zeros((rounds + 1, len(ways), 2))  # seconds of a battle-step: fighting, learning
        for r in range(rounds + 1):
            seeds = battle_seeds(9, r, shape=(s.slots * s.turns,))
            for i, (fight, update) in enumerate(ways.values()):
                begun = time.perf_counter()
                data = fight(nets[i][0], seeds)
                fought = time.perf_counter()
                update(*nets[i], data, s, np.random.default_rng(r))
                steps = len(data.action)
                spent[r, i] = (fought - begun) / steps, (time.perf_counter() - fought) / steps
    spent = spent[1:]  # the first round compiles
    rows = [
        {
            "map": map_name,
            "training": way,
            "battle-steps per second": 1 / np.median(spent[:, i].sum(1)),
            "of the time, fighting": np.median(spent[:, i, 0] / spent[:, i].sum(1)),
        }
        for i, way in enumerate(ways)
    ]
    return rows, spent[:, 1].sum(1) / spent[:, 0].sum(1)


def warm(env, battles):
    """Compile the simulator for so many battles; compiled code is kept on disk."""
    with closing(make(env, battles)) as battle:
        view = battle.reset(battle_seeds(9, battles, shape=(battles,)))
        battle.step(view.avail.argmax(-1))


def projection(params, profile, rounds=3):
    """Seconds of a gradient step of all seeds and temperatures by map, algorithm and phase ("omac value"), and of a battle,
    from a few of each on that map's medium data.
    """
    torch.set_num_threads(params["threads"])
    rows = []
    for map_name in params["grid"]["maps"]:
        env, data = f"smax:{map_name}", registry.load(f"smax-{map_name}-medium-100").select(range(FEW))
        hyper, seeds = settings(params, profile, map_name, "medium")
        net, states, _ = levels.load_level("smax", map_name, "good")
        warm(env, SLOTS)
        fought = battle_seeds(9, SLOTS, shape=(len(seeds), TURNS * SLOTS // len(seeds)))
        row = {
            "map": map_name,
            "battle": seconds(partial(evaluate, env, net, states[-1:] * len(seeds), fought)) / fought.size,
        }
        for name in algorithms.REGISTRY:
            policies = of_policies(params, name, hyper)
            for phase in phases_of(name, hyper):
                work = stepper(data, name, hyper, seeds, phase, policies)
                row[f"{name} {phase}"] = np.median(in_turn([work], rounds)) / STEPS
        rows.append(row)
    return rows


def side_by_side(params, profile):
    """`projection` as the study runs, a process on each of two cores at once: the mean of the two, a row per map."""
    flags = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1"}
    with mock.patch.dict(os.environ, flags), ProcessPoolExecutor(2, get_context("spawn")) as pool:
        both = list(pool.map(projection, [params] * 2, [profile] * 2))
    return [{k: x if k == "map" else (x + b[k]) / 2 for k, x in a.items()} for a, b in zip(*both, strict=True)]


def phases(dataset, algorithm, profile, steps, temperature=PUBLISHED):
    """(c) Seconds of a cell of one temperature in a fresh process, by phase; training is measured on 2 `steps` of each phase,
    after as many that warm up, and scaled to the profile's.
    """
    code = f"""
import json
import time
began, spent = time.perf_counter(), {{}}
def lap(name, count=1):
    global began
    spent[name] = (time.perf_counter() - began) / count
    began = time.perf_counter()
import torch
from omac import algorithms
from omac.config.hyper import load_params
from omac.datasets import registry
from omac.study import cell  # as a cell does
from omac.training.trainer import Trainer
from omac.evaluation import battle_seeds, evaluate
import omac.envs.smax
lap("start-up")
data, held = registry.load("{dataset}"), registry.load(registry.DataSet.parse("{dataset}").held.name)
lap("data")
params = load_params()
torch.set_num_threads(params["threads"])
hyper, policies, seeds = cell.cell_settings(params, "{dataset}", "{algorithm}", profile="{profile}", temperatures=["{temperature}"])
run = Trainer(data, algorithms.get("{algorithm}"), hyper, seeds, policies, held=held)
lap("networks")
for phase in run.phases():
    if phase.name == "policy":
        run.finish_values()
        lap("signal")
    for step in range(2 * {steps}):
        run.step(step, phase.name)
    run.rows(1, phase.name, False)
    lap("warm")
    for step in range(2 * {steps}, 4 * {steps}):
        run.step(step, phase.name)
    lap("step " + phase.name, 2 * {steps})
    run.rows(1, phase.name, False)
    lap("snapshot " + phase.name)
env, state = f"{{data.spec.env}}:{{data.spec.map}}", run.policy.state_dict()
def fight(snapshots, battles):
    fought = battle_seeds(9, battles, shape=(snapshots * len(seeds), battles))
    evaluate(env, run.policy, [state] * snapshots, fought)
for turn in ("first", "again"):
    fight(1, 64)
    lap(turn)
fight(phase.steps // hyper.eval_every, hyper.eval_episodes)
fight(1, hyper.final_episodes)
lap("evaluation")
print(json.dumps(spent))
"""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OMAC_PROGRESS": "0"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    spent, wanted = json.loads(done.stdout.splitlines()[-1]), registry.DataSet.parse(dataset)
    hyper = settings(load_params(), profile, wanted.map, wanted.level)[0]
    counts = phases_of(algorithm, hyper)
    snapshots = sum(count // hyper.eval_every * spent[f"snapshot {phase}"] for phase, count in counts.items())
    whole = {
        "start-up (imports)": spent["start-up"],
        "data": spent["data"],
        **{TRAINING[phase]: count * spent[f"step {phase}"] for phase, count in counts.items()},
        "signal of all transitions": spent.get("signal", 0.0),
        SNAPSHOTS: spent["networks"] + snapshots,
        "compiling": spent["first"] - spent["again"],
        "evaluation": spent["evaluation"],
    }
    return [{"phase": k, "seconds": v, "share": v / sum(whole.values())} for k, v in whole.items()]
