"""What measured times come to: seconds of a cell and of the study, and what a further temperature costs. Measures nothing."""

from dataclasses import replace
from types import SimpleNamespace

from omac import algorithms
from omac.config.hyper import of_policies, settings
from omac.training.trainer import Trainer

TRAINING = {  # what a phase of training is called in tables
    "value": "values, scaled to all steps",
    "policy": "policies, scaled to all steps",
    "joint": "values and policies side by side, scaled to all steps",
}
SNAPSHOTS = "networks, snapshots and their diagnostics"


def phases_of(algorithm, hyper):
    """{phase: its steps} of an algorithm's training, in their order, as the trainer has them."""
    alg = algorithms.get(algorithm)
    learns = {"learns_policy": hasattr(alg, "policy_loss"), "learns_values": bool(alg.GROUPS.keys() - {"pi"})}
    return {x.name: x.steps for x in Trainer.phases(SimpleNamespace(alg=alg, hyper=hyper, **learns))}


def steps_of(algorithm, hyper):
    """(steps of the values, of the policies after them) of an algorithm; 0 where there are none; side by side counts as the first."""
    phases = phases_of(algorithm, hyper)
    return phases.get("value", phases.get("joint", 0)), phases.get("policy", 0)


def seconds_of_cell(hyper, seeds, phases, step, policies, battle, once, snapshot):
    """(seconds of the battles of a cell, of the whole cell).

    Args:
        hyper: Hyper; read are eval_every and the numbers of battles.
        seeds: how many.
        phases: {phase: its steps}.
        step: {phase: seconds of a step of all seeds and policies}.
        policies: how many of each seed.
        battle: seconds of one.
        once: seconds that every cell takes besides (start-up, data, compiling).
        snapshot: seconds of one, with its diagnostics.
    """
    snapshots = {phase: count // hyper.eval_every for phase, count in phases.items()}
    of_policies = sum(count for phase, count in snapshots.items() if phase != "value")
    fights = seeds * policies * (of_policies * hyper.eval_episodes + hyper.final_episodes) * battle
    training = sum(count * step[phase] for phase, count in phases.items())
    return fights, once + sum(snapshots.values()) * snapshot + fights + training


def before_and_after(hyper, seeds, count, step, **costs):
    """(e) A row per way to run OMAC's cell: values and a policy side by side, values first, and `count` temperatures on them.

    step: as `temperatures` returns it; costs: as `seconds_of_cell` takes them.
    """
    first = {"value": hyper.steps, "policy": hyper.policy_steps}
    ways = {
        "side by side, one policy": ({"joint": hyper.steps}, step, 1),
        "values first, one policy": (first, step, 1),
        f"values first, {count} policies": (first, {**step, "policy": step["policies"]}, count),
    }
    rows = []
    for name, (phases, of_step, policies) in ways.items():
        fights, whole = seconds_of_cell(hyper, seeds, phases, of_step, policies, **costs)
        rows.append({"a cell of OMAC": name, "seconds": whole, "of these evaluation": fights})
    return rows


def plain_cell(hyper, by_phase, seeds, whole, fought):
    """(d) Seconds of one seed's cell as such code runs it: a process of its own, 32 battles at every evaluation, 320 at its end.

    by_phase: the plain implementation's time of a step over ours, per seed, {phase: ratio}; whole: the phases of our cell of
    `seeds` seeds and one temperature, whose training they multiply and whose start-up, data and compiling it shares; fought:
    rows of `battles`, one policy at a time in the same simulator.
    """
    spent = {row["phase"]: row["seconds"] for row in whole}
    shared = spent["start-up (imports)"] + spent["data"] + spent["compiling"]
    training = sum(ratio * spent[TRAINING[phase]] for phase, ratio in by_phase.items()) / seeds
    each = {row["battles side by side"]: row["battles side by side"] / row["battles per second"] for row in fought}
    fights = hyper.policy_steps // hyper.eval_every * each[hyper.eval_episodes] + each[hyper.final_episodes]
    return shared + training + fights


def planned(params, profile):
    """{(map, level): gradient steps of the values} of the grid's data sets, as params.yaml has them."""
    grid = params["grid"]
    return {(m, x): settings(params, profile, m, x)[0].steps for m in grid["maps"] for x in grid["levels"]}


def cell_seconds(rows, params, profile, steps, once, snapshot):
    """Seconds of a whole cell with all its temperatures, a row per data set of `steps` {(map, level): steps of the values}: the
    evaluation in OMAC's, and each algorithm's, from the `rows` of `side_by_side`.

    once, snapshot: as `seconds_of_cell` takes them.
    """
    speed = {row["map"]: row for row in rows}
    out = []
    for (map_name, level), count in steps.items():
        hyper, seeds = settings(params, profile, map_name, level)
        hyper, known, fights, whole = replace(hyper, steps=count), speed[map_name], {}, {}
        for name in algorithms.REGISTRY:
            phases, policies = phases_of(name, hyper), len(of_policies(params, name, hyper))
            step = {phase: known[f"{name} {phase}"] for phase in phases}
            fights[name], whole[name] = seconds_of_cell(
                hyper, len(seeds), phases, step, policies, known["battle"], once, snapshot
            )
        out.append({"map": map_name, "level": level, "steps": count, "evaluation": fights["omac"], **whole})
    return out


def whole(rows, grid):
    """Seconds of every cell of the paper's study, from the `rows` of `cell_seconds`: Table 4, Table 1's subsets of 6h_vs_8z,
    Figure 3's five ablations on poor.
    """
    hard = [row for row in rows if row["map"] == "6h_vs_8z"]
    cells = [row[name] for row in [*rows, *hard * len(grid["subsets"])] for name in algorithms.REGISTRY]
    return cells + [row["omac"] for row in hard if row["level"] == "poor"] * len(grid["ablations"])


def as_run(rows, measured, params, profile):
    """Whole cells of the default variant as they ran beside their projection: `measured` (of cells.py) against `rows` (of `cell_seconds`).

    Cells of other numbers of steps than params.yaml's are left out. Returns a row per cell, `ratio` is seconds as run over projected.
    """
    projected = {(row["map"], row["level"]): row for row in rows}
    out = []
    for cell in measured[measured["variant"] == "default"].itertuples():
        at = (cell.map, cell.level)
        wanted = steps_of(cell.algorithm, settings(params, profile, *at)[0])
        if at in projected and (cell.steps, cell.policy_steps) == wanted:
            known = projected[at][cell.algorithm]
            out.append(
                {
                    "map": cell.map,
                    "level": cell.level,
                    "steps": cell.steps,
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
