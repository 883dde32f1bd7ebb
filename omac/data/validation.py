"""What makes an episode file trustworthy. Every rule that fails names the file, the field, the values and the likely cause."""

import numpy as np

FIELDS = ("obs", "state", "avail", "action", "reward", "terminated", "truncated", "start", "win", "id", "policy")
KINDS = {
    "obs": "f",
    "state": "f",
    "avail": "b",
    "action": "i",
    "reward": "f",
    "terminated": "b",
    "truncated": "b",
    "start": "i",
    "win": "b",
    "id": "i",
    "policy": "i",
}
DIMENSIONS = {"obs": 3, "state": 2, "avail": 3, "action": 2}
COPIES, FEW = 0.05, 2  # share of episodes that may repeat an earlier one to the last byte; this many always may
FALLING = 0.9  # share of episodes whose rewards may never increase
ABOUT = ("env", "map", "level", "source", "seed", "versions", "reward_scale", "horizon", "policies", "sizes")


class DataError(ValueError):
    """One line: "<file>: <field>: <values> (likely cause: <cause>)"."""

    def __init__(self, file, name, found, cause):
        super().__init__(f"{file}: {name}: {found} (likely cause: {cause})")


def check(x, about, file):
    """Raise DataError at the first rule that arrays `x` (a dict of FIELDS) and attributes `about` break."""
    for rule in (_schema, _sizes, _finite, _ends, _actions, _to_go, _scale, _duplicates):
        found = rule(x, about)
        if found:
            raise DataError(file, *found)


def _schema(x, about):
    for key in ABOUT:
        if key not in about:
            return f"attribute {key}", "missing", "written by something other than Episodes.save"
    for name in FIELDS:
        if x[name].dtype.kind != KINDS[name] or x[name].ndim != DIMENSIONS.get(name, 1):
            return (
                name,
                f"{x[name].dtype} with {x[name].ndim} dimensions where {DIMENSIONS.get(name, 1)} of kind "
                f"'{KINDS[name]}' are expected",
                "another layout or a conversion that lost the type",
            )
    return None


def _sizes(x, about):
    start, steps, episodes = x["start"], len(x["reward"]), len(x["win"])
    if episodes == 0 or len(start) != episodes + 1 or start[0] != 0 or start[-1] != steps:
        ends = f"{start[0]} to {start[-1]}" if len(start) else "nothing"
        return (
            "start",
            f"{len(start)} offsets from {ends} for {episodes} episodes and {steps} steps",
            "offsets and steps are of different files",
        )
    if np.diff(start).min() < 1:
        e = int(np.argmin(np.diff(start)))
        return (
            "start",
            f"episode {e} has length {start[e + 1] - start[e]}",
            "an empty episode was recorded: drop it before saving",
        )
    for name in ("obs", "state", "avail"):
        if len(x[name]) == steps:
            return (
                name,
                f"{steps} rows for {steps} steps and {episodes} episodes, expected {steps + episodes}",
                "the final observation of each episode is missing",
            )
        if len(x[name]) != steps + episodes:
            return (
                name,
                f"{len(x[name])} rows, expected {steps} steps + {episodes} final observations",
                "rows were lost or repeated",
            )
    for name in ("action", "terminated", "truncated"):
        if len(x[name]) != steps:
            return name, f"{len(x[name])} rows, expected {steps}", "rows were lost or repeated"
    for name in ("id", "policy"):
        if len(x[name]) != episodes:
            return name, f"{len(x[name])} entries, expected {episodes}", "entries were lost or repeated"
    agents = {name: x[name].shape[1] for name in ("obs", "avail", "action")}
    if len(set(agents.values())) > 1:
        return "obs", f"{agents} agents", "arrays of different maps, or an observation of another width"
    found = [*x["obs"].shape[1:], x["state"].shape[1], x["avail"].shape[2]]
    if found != list(about["sizes"]):
        return (
            "obs",
            f"[n, O, S, A] is {found}, the simulator's sizes are {about['sizes']}",
            "data of another observation variant under this map's name",
        )
    if np.diff(start).max() > about["horizon"]:
        return (
            "start",
            f"an episode of {np.diff(start).max()} steps, the horizon is {about['horizon']}",
            "two episodes joined, or another time limit",
        )
    if x["policy"].min() < 0 or x["policy"].max() >= len(about["policies"]):
        return (
            "policy",
            f"{x['policy'].min()} to {x['policy'].max()}, but {len(about['policies'])} policies are named",
            "policies of another file",
        )
    return None


def _finite(x, about):
    for name in ("obs", "state", "reward"):
        bad = ~np.isfinite(x[name])
        if bad.any():
            return (
                name,
                f"{int(bad.sum())} values are not finite, the first at {np.argwhere(bad)[0].tolist()}",
                "a simulator or conversion error",
            )
    return None


def _ends(x, about):
    last = np.zeros(len(x["reward"]), bool)
    last[x["start"][1:] - 1] = True
    done = x["terminated"] | x["truncated"]
    if (x["terminated"] & x["truncated"]).any():
        return (
            "truncated",
            f"step {int(np.argmax(x['terminated'] & x['truncated']))} is terminated and truncated",
            "a time limit recorded as an end",
        )
    if (done & ~last).any():
        return (
            "terminated",
            f"step {int(np.argmax(done & ~last))} ends inside an episode",
            "deaths of single agents recorded as the end, or offsets off by one",
        )
    if (~done & last).any():
        return (
            "terminated",
            f"the last step of {int((~done & last).sum())} episodes is no end",
            "the terminal transition was dropped",
        )
    lost = x["win"] & ~x["terminated"][x["start"][1:] - 1]
    if lost.any():
        return "win", f"episode {int(np.argmax(lost))} is won but not terminated", "wins and episodes are out of step"
    return None


def _actions(x, about):
    A = x["avail"].shape[2]
    if x["action"].min() < 0 or x["action"].max() >= A:
        return (
            "action",
            f"{x['action'].min()} to {x['action'].max()}, there are {A}",
            "actions of another map or counted from 1",
        )
    episode = np.repeat(np.arange(len(x["win"])), np.diff(x["start"]))
    avail = x["avail"][np.arange(len(episode)) + episode]
    taken = np.take_along_axis(avail, x["action"][..., None].astype(np.int64), 2)[..., 0]
    if not taken.all():
        t, i = np.argwhere(~taken)[0]
        return (
            "action",
            f"{int((~taken).sum())} actions were not available, the first {x['action'][t, i]} at step {t}, agent {i}",
            "avail and action are out of step, or actions were not masked",
        )
    return None


def _to_go(x, about):
    """Rewards that never increase, in nearly every episode: sums of what follows. A battle is paid most at its end."""
    start, step = x["start"], np.diff(x["reward"])
    inside = np.ones(len(step), bool)
    inside[start[1:-1] - 1] = False
    episode = np.repeat(np.arange(len(x["win"])), np.diff(start))[:-1]
    rises, falls = (np.bincount(episode[inside & way], minlength=len(x["win"])) > 0 for way in (step > 0, step < 0))
    told = (np.diff(start) > 2) & (rises | falls)  # constant rewards, all zero for instance, tell nothing
    share = (told & ~rises).sum() / max(1, told.sum())
    if told.sum() > FEW and share > FALLING:
        return (
            "reward",
            f"never increases within {share:.0%} of the episodes",
            "returns-to-go in place of rewards: take the differences of successive steps",
        )
    return None


def _scale(x, about):
    total = np.add.reduceat(x["reward"].astype(np.float64), x["start"][:-1])
    # Shields regenerate in StarCraft II, so that Protoss units can be shot for more than the 20 that SMAC scales to:
    # on 3s_vs_5z returns up to 29 have been published.
    slack = 1.5 if about["env"].startswith("smac") else 1.001
    if np.abs(total).max() > about["reward_scale"] * slack:
        return (
            "reward",
            f"an episode returns {total[np.abs(total).argmax()]:.2f} on a scale of {about['reward_scale']}",
            "returns-to-go in place of rewards, or another scale",
        )
    return None


def _duplicates(x, about):
    start, battles, again = x["start"], {}, 0
    for e, (a, b) in enumerate(zip(start[:-1], start[1:], strict=True)):
        battles.setdefault(x["action"][a:b].tobytes(), []).append(e)
    for same in battles.values():  # few share their actions, so that few states are looked at
        if len(same) > 1:
            again += len(same) - len({x["state"][start[e] + e : start[e + 1] + e + 1].tobytes() for e in same})
    return copies(again, len(x["win"]))


def copies(again, episodes):
    """What is wrong with `again` of `episodes` repeating an earlier one, or None.

    Simulators that draw their actions never repeat a battle of 20 steps; 1 in 20 leaves room for short ones and for greedy
    policies. A file that was joined with itself has 1 in 2.
    """
    if again > max(FEW, COPIES * episodes):
        return (
            "state",
            f"{again} of {episodes} episodes repeat an earlier one",
            "files joined twice, or battles of one seed: drop the copies",
        )
    return None
