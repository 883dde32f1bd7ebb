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
DTYPES = {
    **dict.fromkeys(("obs", "state", "reward"), "float32"),
    "action": "int16",
    "policy": "int32",
}  # the exact ones
DTYPES |= {**dict.fromkeys(("avail", "terminated", "truncated", "win"), "bool"), "start": "int64", "id": "int64"}
DIMENSIONS = {"obs": 3, "state": 2, "avail": 3, "action": 2}
LARGEST_VALUE = 1e4  # |observation| and |state|: simulators scale to about 1, positions on a map reach some hundreds
# Shields regenerate in StarCraft II, so that Protoss units can be shot for more than the 20 that SMAC scales to: on
# 3s_vs_5z returns up to 29 have been published.
SHIELDS = 1.5
LARGEST_SMAC = 100  # StarCraft II's are fractions of the largest value, all of them
COPIES, FEW = 0.05, 2  # share of episodes that may repeat an earlier one to the last byte; this many always may
FALLING = 0.9  # share of episodes whose rewards may never increase
ONE_LINE, WHOLE = 400, 1 << 20  # characters of what was found; the largest whole number of an attribute


def _whole(value, least, most=WHOLE):
    return type(value) is int and least <= value <= most


def _text(value):
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()


def _list(value, holds, least=0):
    return isinstance(value, list) and len(value) >= least and all(map(holds, value))


def _number(value):
    return type(value) in (int, float) and abs(value) <= WHOLE  # NaN is not


ABOUT = {  # what an attribute must be, in words and as a test
    **dict.fromkeys(("env", "map", "level", "source"), ("a short text", _text)),
    "seed": ("a whole number or null", lambda v: v is None or _whole(v, 0, 1 << 63)),
    "versions": ("texts by name", lambda v: isinstance(v, dict) and all(map(_text, v.values()))),
    "reward_scale": ("a finite number above 0", lambda v: _number(v) and v > 0),
    "horizon": ("a whole number from 1 on", lambda v: _whole(v, 1)),
    "policies": ("a list of texts", lambda v: _list(v, _text, 1)),
    "sizes": ("four whole numbers from 1 on", lambda v: _list(v, lambda n: _whole(n, 1), 4) and len(v) == 4),
}
MORE = {  # the same of attributes that a file need not have
    "policy_returns": ("a list of finite numbers", lambda v: _list(v, _number)),
    "unknown_outcomes": ("a list of whole numbers", lambda v: _list(v, lambda n: _whole(n, 0, 1 << 63))),
    **dict.fromkeys(("sample_seed", "sample_of"), ("a whole number", lambda v: _whole(v, 0, 1 << 63))),
    **dict.fromkeys(("note", "conversion", "parent"), ("a text", lambda v: isinstance(v, str))),
    "origin": ("names and texts", lambda v: isinstance(v, dict)),
}


class DataError(ValueError):
    """One line: "<file>: <field>: <values> (likely cause: <cause>)"."""

    def __init__(self, file, name, found, cause):
        found = str(found) if len(str(found)) <= ONE_LINE else f"{str(found)[:ONE_LINE]} ..."
        line = f"{file}: {name}: {found} (likely cause: {cause})"
        super().__init__("".join(c if c.isprintable() else " " for c in line))


def check(x, about, file):
    """Raise DataError at the first rule that arrays `x` (a dict of FIELDS) and attributes `about` break."""
    check_shapes(x, about, file)
    for rule in (_flags, _offsets, _finite, _ends, _actions, _views, _to_go, _scale, _duplicates):
        found = rule(x, about)
        if found:
            raise DataError(file, *found)


def check_shapes(x, about, file):
    """Return the rules of `check` that need no values: they hold for arrays that are not read yet, too."""
    for rule in (_attributes, _schema, _sizes):
        found = rule(x, about)
        if found:
            raise DataError(file, *found)


def _attributes(x, about):
    return bad_attribute(about)


def bad_attribute(about):
    """Return the first attribute that is not what it must be: (field, values, cause), or None."""
    for key in ABOUT:
        if key not in about:
            return f"attribute {key}", "missing", "written by something other than Episodes.save"
    for key, (words, holds) in {**ABOUT, **{k: v for k, v in MORE.items() if k in about}}.items():
        if not holds(about[key]):
            return f"attribute {key}", f"{about[key]!r}, {words} is expected", "a damaged file, or one made by hand"
    if len(about.get("policy_returns", about["policies"])) != len(about["policies"]):
        found = f"{len(about['policy_returns'])} for {len(about['policies'])} policies"
        return "attribute policy_returns", found, "policies of another file"
    return None


def _schema(x, about):
    for name in FIELDS:
        if x[name].dtype != DTYPES[name] or x[name].ndim != DIMENSIONS.get(name, 1):
            return (
                name,
                f"{x[name].dtype} with {x[name].ndim} dimensions where {DIMENSIONS.get(name, 1)} of kind "
                f"'{KINDS[name]}' are expected, {DTYPES[name]}",
                "another layout or a conversion that lost the type",
            )
    return None


def _sizes(x, about):
    steps, episodes = len(x["reward"]), len(x["win"])
    if episodes == 0 or len(x["start"]) != episodes + 1 or steps < episodes:
        return (
            "start",
            f"{len(x['start'])} offsets for {episodes} episodes and {steps} steps",
            "offsets and steps are of different files",
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
    return None


def _flags(x, about):
    for name in ("avail", "terminated", "truncated", "win"):
        if x[name].view(np.uint8).max() > 1:
            return name, f"a byte of {x[name].view(np.uint8).max()}, 0 or 1 is expected", "a damaged file"
    return None


def _offsets(x, about):
    start, steps, length = x["start"], len(x["reward"]), np.diff(x["start"])
    if start[0] != 0 or start[-1] != steps:
        found = f"{len(start)} offsets from {start[0]} to {start[-1]} for {len(x['win'])} episodes and {steps} steps"
        return "start", found, "offsets and steps are of different files"
    if (start[1:] <= start[:-1]).any():
        e = int(np.argmax(start[1:] <= start[:-1]))
        return (
            "start",
            f"episode {e} has length {int(start[e + 1]) - int(start[e])}",
            "an empty episode was recorded: drop it before saving",
        )
    if length.max() > about["horizon"]:
        return (
            "start",
            f"an episode of {length.max()} steps, the horizon is {about['horizon']}",
            "two episodes joined, or another time limit",
        )
    if x["policy"].min() < 0 or x["policy"].max() >= len(about["policies"]):
        return (
            "policy",
            f"{x['policy'].min()} to {x['policy'].max()}, but {len(about['policies'])} policies are named",
            "policies of another file",
        )
    if x["id"].min() < 0:
        return "id", f"{x['id'].min()}, ids count from 0", "a damaged file"
    return None


def _finite(x, about):
    most = LARGEST_SMAC if about["env"].startswith("smac") else LARGEST_VALUE
    return next(filter(None, (beyond(name, x[name], most) for name in ("obs", "state"))), None) or beyond(
        "reward", x["reward"], np.inf
    )


def beyond(name, x, most):
    """Say what is wrong with numbers that are not finite, or of an absolute value above `most`; None when nothing is."""
    if x.size == 0 or (-most <= x.min() and x.max() <= most and np.isfinite(x.max()) and np.isfinite(x.min())):
        return None
    bad = ~np.isfinite(x)
    if bad.any():
        found = f"{int(bad.sum())} values are not finite, the first at {np.argwhere(bad)[0].tolist()}"
        return name, found, "a simulator or conversion error"
    bad = np.abs(x) > most
    at = np.argwhere(bad)[0].tolist()
    found = f"{int(bad.sum())} values are beyond {most:g}, the first, {x[tuple(at)]:g}, at {at}"
    return name, found, "damaged numbers, or features that nobody scaled"


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
    both = x["win"] & np.isin(x["id"], about.get("unknown_outcomes", ()))
    if both.any():
        return "win", f"episode {int(np.argmax(both))} is won, and its outcome unknown", "outcomes of another file"
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


def _views(x, about):
    """Of StarCraft II alone: the fallen have action 0 alone and stay fallen, and nobody alive sees nothing at all."""
    if not about["env"].startswith("smac"):
        return None
    rows, first = x["start"][:-1] + np.arange(len(x["win"])), np.zeros(len(x["obs"]), bool)
    first[rows] = True
    alive = x["avail"][..., 1:].any(2)
    if not alive[first].all():
        e, i = np.argwhere(~alive[first])[0]
        return "avail", f"episode {e} begins with agent {i} fallen", "ends that are out of step with the views"
    risen = (alive[1:] & ~alive[:-1]).any(1) & ~first[1:]
    if risen.any():
        found = f"an agent that has fallen stands up again, the first time in row {int(np.argmax(risen)) + 1}"
        return "avail", found, "a lost end, or ends that are out of step with the views"
    for name, dark in (("obs", alive & ~x["obs"].any(2)), ("state", alive.any(1) & ~x["state"].any(1))):
        if dark.any():
            found = f"nothing but zeros in row {np.argwhere(dark)[0][0]}, where agents live"
            return name, found, "an array that was not written to its end"
    return None


def _to_go(x, about):
    return returns_to_go(x["reward"], x["start"])


def returns_to_go(reward, start):
    """Find rewards that never increase, in nearly every episode: sums of what follows. A battle is paid most at its end."""
    step, count = np.diff(reward), len(start) - 1
    inside = np.ones(len(step), bool)
    inside[start[1:-1] - 1] = False
    episode = np.repeat(np.arange(count), np.diff(start))[:-1]
    rises, falls = (np.bincount(episode[inside & way], minlength=count) > 0 for way in (step > 0, step < 0))
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
    slack = SHIELDS if about["env"].startswith("smac") else 1.001
    if np.abs(total).max() > about["reward_scale"] * slack:
        return (
            "reward",
            f"an episode returns {total[np.abs(total).argmax()]:.2f} on a scale of {about['reward_scale']}",
            "returns-to-go in place of rewards, or another scale",
        )
    if np.abs(x["reward"]).max() > about["reward_scale"] * slack:
        t = int(np.abs(x["reward"]).argmax())
        return (
            "reward",
            f"step {t} pays {x['reward'][t]:g} on a scale of {about['reward_scale']}",
            "a damaged number, or another scale",
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
    """Say what is wrong with `again` of `episodes` repeating an earlier one, or None.

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
