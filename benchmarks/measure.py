"""What `make bench` measures. Every ratio is of numbers taken in turn, in one run, on one machine."""

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
import torch
from torch import profiler
from torch.utils.flop_counter import FlopCounterMode

from omac import algorithms
from omac.analysis.results import crossing
from omac.behaviour import levels
from omac.config.hyper import load_params, settings
from omac.datasets import registry
from omac.envs import make
from omac.evaluation import SLOTS, battle_seeds, evaluate
from omac.paths import ROOT
from omac.schema import SET
from omac.training.trainer import Trainer

sys.path.append(str(ROOT / "examples"))
import omac_single_file  # noqa: E402

ROUNDS, STEPS = 7, 4  # rounds of a comparison, gradient steps in each
TURNS = 4  # battles that each slot of the simulator fights one after another: in a cell it is four and five
FEW = 200  # episodes that are enough to time a step on, where many data sets are
TRAINING, SNAPSHOTS = "training, scaled to all steps", "networks, snapshots and their diagnostics"


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


def stepper(data, algorithm, hyper, seeds):
    """A function that makes STEPS gradient steps of all seeds."""
    run = Trainer(data, algorithms.get(algorithm), hyper, seeds)
    at = iter(range(10**9))

    def work():
        for _ in range(STEPS):
            run.step(next(at), "joint")

    return work


def gradient_steps(data, hyper, seeds):
    """(a) A row per algorithm: ms and GFLOP per seed and step, and the rate as a share of the matrix product's beside it."""
    gemm, gemm_flops = product(hyper, data.spec, len(seeds))
    rows = []
    for name in algorithms.REGISTRY:
        work = stepper(data, name, hyper, seeds)
        with FlopCounterMode(display=False) as counter:
            work()
        flops = counter.get_total_flops()
        t = in_turn([work, gemm], 5)
        share = (flops / t[:, 0]) / (gemm_flops / t[:, 1])
        each = STEPS * len(seeds)
        rows.append(
            {
                "algorithm": name,
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
    """(a) A row per kind of operation of OMAC's gradient step: its share of the time that torch's profiler sees."""
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
    """How the work may be laid out: a row for all seeds stacked, for one seed alone, and for all stacked on two threads.

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


def peer_stepper(path, hyper, seed):
    """A function that makes STEPS gradient steps of examples/omac_single_file.py, of one seed, on the data set at `path`."""
    torch.manual_seed(seed)
    data = omac_single_file.read(path, hyper.gamma)
    nets = omac_single_file.Networks(data, hyper)
    adam = omac_single_file.optimiser(nets, hyper)

    def work():
        for _ in range(STEPS):
            omac_single_file.update(nets, adam, omac_single_file.draw(data, hyper.batch_size), hyper)

    return work


def against_the_peer(data, path, hyper, seeds):
    """(d) OMAC here, on `data`, against the plain single file, on the same at `path`, per seed: (rows, the ratio, its spread over rounds)."""
    ours, theirs = stepper(data, "omac", hyper, seeds), peer_stepper(path, hyper, seeds[0])
    t = in_turn([ours, theirs]) / STEPS
    t[:, 0] /= len(seeds)
    ratio = t[:, 1] / t[:, 0]
    names = (f"ours, {len(seeds)} seeds stacked", "plain single-seed PyTorch")
    rows = [{"": name, "ms per seed-step": x * 1e3} for name, x in zip(names, np.median(t, 0), strict=True)]
    return rows, float(np.median(ratio)), (float(ratio.min()), float(ratio.max()))


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


def plain_cell(hyper, ratio, seeds, whole, fought):
    """(d) Seconds of one seed's cell as such code runs it: a process of its own, 32 battles at every evaluation, 320 at its end.

    ratio: the plain implementation's time of a gradient step over ours, per seed, taken in turn; whole: the phases of our cell of
    `seeds` seeds, whose training it multiplies and whose start-up, data and compiling it shares; fought: rows of `battles`, one
    policy at a time in the same simulator.
    """
    spent = {row["phase"]: row["seconds"] for row in whole}
    shared = spent["start-up (imports)"] + spent["data"] + spent["compiling"]
    each = {row["battles side by side"]: row["battles side by side"] / row["battles per second"] for row in fought}
    fights = hyper.steps // hyper.eval_every * each[hyper.eval_episodes] + each[hyper.final_episodes]
    return shared + ratio * spent[TRAINING] / seeds + fights


def warm(env, battles):
    """Compile the simulator for so many battles; compiled code is kept on disk."""
    with closing(make(env, battles)) as battle:
        view = battle.reset(battle_seeds(9, battles, shape=(battles,)))
        battle.step(view.avail.argmax(-1))


def projection(params, profile, rounds=3):
    """Seconds of a gradient step of all seeds by map and algorithm, and of a battle, from a few of each on that map's medium data."""
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
            row[name] = np.median(in_turn([stepper(data, name, hyper, seeds)], rounds)) / STEPS
        rows.append(row)
    return rows


def side_by_side(params, profile):
    """`projection` as the study runs, a process on each of two cores at once: the mean of the two, a row per map."""
    flags = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OMP_NUM_THREADS": "1"}
    with mock.patch.dict(os.environ, flags), ProcessPoolExecutor(2, get_context("spawn")) as pool:
        both = list(pool.map(projection, [params] * 2, [profile] * 2))
    return [{k: x if k == "map" else (x + b[k]) / 2 for k, x in a.items()} for a, b in zip(*both, strict=True)]


def planned(params, profile):
    """{(map, level): gradient steps} of the grid's data sets, as params.yaml has them."""
    grid = params["grid"]
    return {(m, x): settings(params, profile, m, x)[0].steps for m in grid["maps"] for x in grid["levels"]}


def crossed(rows, profile):
    """{(map, level): gradient step at which OMAC's mean Q_tot first meets the return-to-go in the data}, by the study's own
    `rows` of whole data sets; data sets that are not run, or where it never does, are left out.
    """
    mine = rows[(rows["profile"] == profile) & (rows["algorithm"] == "omac") & (rows["ratio"] == 100)]
    reached = crossing(mine).set_index(SET[:2])["Q_tot crosses it at step"]
    return {data_set: int(step) for data_set, step in reached.items() if step != "never"}


def cell_seconds(rows, params, profile, steps, once, snapshot):
    """Seconds of a whole cell, a row per data set of `steps` {(map, level): gradient steps}: its evaluation, and each algorithm with
    it, from the `rows` of `side_by_side`.

    once: seconds that every cell takes besides (start-up, data, compiling); snapshot: seconds of one, with its diagnostics.
    """
    speed = {row["map"]: row for row in rows}
    out = []
    for (map_name, level), count in steps.items():
        hyper, seeds = settings(params, profile, map_name, level)
        snapshots = count // hyper.eval_every
        battles = len(seeds) * (snapshots * hyper.eval_episodes + hyper.final_episodes)
        fights = battles * speed[map_name]["battle"]
        each = {
            name: once + snapshots * snapshot + fights + count * speed[map_name][name] for name in algorithms.REGISTRY
        }
        out.append({"map": map_name, "level": level, "steps": count, "evaluation": fights, **each})
    return out


def whole(rows, grid):
    """Seconds of every cell of the paper's study, from the `rows` of `cell_seconds`: Table 4, Table 1's subsets of 6h_vs_8z,
    Figure 3's five ablations on poor.
    """
    hard = [row for row in rows if row["map"] == "6h_vs_8z"]
    cells = [row[name] for row in [*rows, *hard * len(grid["subsets"])] for name in algorithms.REGISTRY]
    return cells + [row["omac"] for row in hard if row["level"] == "poor"] * len(grid["ablations"])


def as_run(rows, measured):
    """Whole cells of the default variant as they ran beside their projection: `measured` (of cells.py) against `rows` (of `cell_seconds`).

    Cells of another number of steps than params.yaml's are left out. Returns a row per cell, `ratio` is seconds as run over projected.
    """
    projected = {(row["map"], row["level"], row["steps"]): row for row in rows}
    out = []
    for cell in measured[measured["variant"] == "default"].itertuples():
        at = (cell.map, cell.level, cell.steps)
        if at in projected:
            known = projected[at][cell.algorithm]
            about = dict(zip(("map", "level", "steps"), at, strict=True))
            out.append(
                {
                    **about,
                    "algorithm": cell.algorithm,
                    "as run": cell.seconds,
                    "projected": known,
                    "ratio": cell.seconds / known,
                }
            )
    return out


def factors(ran):
    """{map: seconds of its cells of `as_run` as run over projected, both summed}."""
    sums = {}
    for row in ran:
        run, projected = sums.get(row["map"], (0, 0))
        sums[row["map"]] = run + row["as run"], projected + row["projected"]
    return {name: run / projected for name, (run, projected) in sums.items()}


def as_slow(rows, by_map):
    """The `rows` of `cell_seconds` with each map's seconds times its factor in `by_map`."""
    return [{k: x * by_map[row["map"]] if k in algorithms.REGISTRY else x for k, x in row.items()} for row in rows]


def hours(cells, cores=2):
    """Hours of `cells`, seconds each, on `cores`."""
    return sum(cells) / cores / 3600


def phases(dataset, algorithm, profile, steps):
    """(c) Seconds of a cell in a fresh process, by phase; training is measured on 2 `steps` and scaled to the profile's.

    Three trainings, after one that warms up, tell a step from a snapshot: of `steps` with one and with two snapshots, of 3 `steps` with one.
    """
    code = f"""
import time
t = [time.perf_counter()]
import torch
from omac.datasets import registry
from omac.study import cell  # as a cell does
from omac.training import trainer
from omac.config.hyper import load_params, settings
from omac.evaluation import battle_seeds, evaluate
import omac.envs.smax
t.append(time.perf_counter())
data, held = registry.load("{dataset}"), registry.load(registry.DataSet.parse("{dataset}").held.name)
t.append(time.perf_counter())
p = load_params()
torch.set_num_threads(p["threads"])
h, seeds = settings(p, "{profile}", data.spec.map, data.about["level"])
for steps, snapshots in ((2, 1), ({steps}, 1), ({steps}, 2), (3 * {steps}, 1)):
    p["profiles"]["bench"] = {{**p["profiles"]["{profile}"], "steps": steps, "eval_every": steps // snapshots}}
    few, _ = settings(p, "bench", data.spec.map, data.about["level"])
    trained = trainer.train(data, "{algorithm}", few, seeds, progress=False, held=held)
    t.append(time.perf_counter())
env, policy = f"{{data.spec.env}}:{{data.spec.map}}", trained.snapshots[-1]["policy"]
def fight(snapshots, battles):
    fought = battle_seeds(9, battles, shape=(snapshots * len(seeds), battles))
    evaluate(env, trained.policy, [policy] * snapshots, fought)
    t.append(time.perf_counter())
for _ in range(2):
    fight(1, 64)
fight(h.steps // h.eval_every, h.eval_episodes)
fight(1, h.final_episodes)
print(*t)
"""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OMAC_PROGRESS": "0"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    *spent, eval_, final = np.diff([float(x) for x in done.stdout.split()[-11:]])
    start_up, read, _, one, two, long, first, again = spent
    hyper = settings(load_params(), profile)[0]
    step, snapshot = (long - one) / (2 * steps), two - one
    whole = {
        "start-up (imports)": start_up,
        "data": read,
        TRAINING: step * hyper.steps,
        SNAPSHOTS: one - step * steps + (hyper.steps // hyper.eval_every - 1) * snapshot,
        "compiling": first - again,
        "evaluation": eval_ + final,
    }
    return [{"phase": k, "seconds": v, "share": v / sum(whole.values())} for k, v in whole.items()]
