"""Every number that training depends on, each with its source and its bounds. params.yaml holds the values."""

import math
import operator
from dataclasses import dataclass, field, fields, replace

from omac.config.names import check_name, read_yaml
from omac.config.params import (
    PARAMS_SECTIONS,
    check_data,
    check_data_sets,
    check_grid,
    check_mapping,
    check_seeds,
    check_steps,
    check_temperatures,
    check_whole,
)
from omac.paths import ROOT, shown
from omac.schema import PUBLISHED

LOWER = "Temperature parameter beta, lower"  # in table_2: another beta, {value, data sets}
BOUNDS = {  # key of a field's metadata: (what holds of a value within it, in words)
    "above": (operator.gt, "above"),
    "low": (operator.ge, "at least"),
    "high": (operator.le, "at most"),
    "below": (operator.lt, "below"),
}


def _f(default, source, words=None, **rules):
    """Make a setting: its default, where it comes from, the paper's words for it in Table 2, and its rules.

    rules: among, the allowed words; above, low, high, below, the bounds of a number.
    """
    return field(default=default, metadata={"source": source, "words": words, "among": None, **rules})


@dataclass(frozen=True)
class Hyper:
    """Table 2 and the deviation register. `tau` is the expectile; the target update rate is `polyak`."""

    lr_value: float = _f(5e-4, "Table 2", "Value network learning rate", above=0)
    lr_policy: float = _f(5e-4, "Table 2", "Policy network learning rate", above=0)
    # 1 copies the networks at every step
    polyak: float = _f(0.005, "Table 2", "Target update rate", above=0, high=1)
    batch_size: int = _f(128, "Table 2; register 2: single time steps, all agents together", "Batch size", low=1)
    gamma: float = _f(0.99, "Table 2", "Discount factor", above=0, high=1)
    hidden: int = _f(256, "Table 2, A.1", "Hidden dimension", low=1)
    cca_hidden: int = _f(64, "Table 2, A.1", "CCA network hidden dimension", low=1)
    # 0.5: the mean of Q_i; towards 1: its maximum within the data (Theorem 1)
    tau: float = _f(0.7, "Table 2, A.3", "Expectile parameter tau", above=0, below=1)
    # 0: cloning; larger trusts the values more (Eq. 8)
    beta: float = _f(
        1.0, "Table 2, A.3: 0.5 on good and medium of 3s5z_vs_3s6z and corridor", "Temperature parameter beta", low=0
    )
    credit: str = _f("coupled", "Eq. 3; ablations of 6.4", among=("coupled", "independent", "tied"))
    local_value: str = _f("expectile", "Eq. 5; CVF-maxQ of 6.4.3", among=("expectile", "max"))
    # 0: every action is allowed; towards 1: the likeliest alone
    threshold: float = _f(0.3, "Table 2: BCQ-MA", "Threshold (BCQ-MA)", low=0, below=1)
    alpha: float = _f(1.0, "Table 2: weight of CQL's penalty", "alpha (OMAR, CQL-MA)", low=0)
    logit_penalty: float = _f(0.01, "register 23: discrete BCQ", low=0)
    beta_policy: float = _f(0.1, "register 25: ICQ", above=0)
    alpha_value: float = _f(1_000.0, "register 25: ICQ", above=0)
    policy_credit: str = _f("raw", "register 26: w_i in ICQ's policy loss", among=("raw", "sum_one", "none"))
    critic: str = _f("twin", "register 32: OMAR's critic as published", among=("twin", "cql"))
    search: str = _f("argmax", "register 28: OMAR's search", among=("argmax", "cem"))
    # 0: the policy gradient alone; 1: the searched action alone
    search_weight: float = _f(0.5, "register 28: OMAR's c", low=0, high=1)
    search_samples: int = _f(10, "register 28: OMAR", low=1)
    search_rounds: int = _f(3, "register 28: OMAR", low=1)
    # of the values, and of all where values and policy are learned side by side
    steps: int = _f(10_000, "register 1: profile", low=1)
    policy_steps: int = _f(4_000, "register 11: of the policies, after the values", low=1)
    top_share: float = _f(
        1.0, "register 34: of the episodes that are cloned, those of the highest return", above=0, high=1
    )
    global_input: str = _f("state", "register 4: OMIGA", among=("state", "joint_obs"))
    bootstrap: str = _f("target", "register 8: OMIGA", among=("target", "online"))
    advantage: str = _f("target", "register 9: IQL, OMIGA", among=("target", "online"))
    advantage_scale: str = _f("none", "register 31: what beta multiplies", among=("none", "std", "w_q"))
    max_weight: float = _f(100.0, "register 10: IQL", above=0)
    schedule: str = _f("sequential", "Algorithm 1, register 11", among=("joint", "sequential"))
    bootstrap_at_limit: bool = _f(True, "register 12: correct TD")
    reward: str = _f("step", "register 13: Eq. 6", among=("step", "return_to_go"))
    grad_clip: float = _f(1.0, "register 14: OMIGA", above=0)
    mask_actions: bool = _f(True, "register 16: ICQ, CFCQL")
    mask_dead: bool = _f(False, "register 17: OMIGA")
    eval_every: int = _f(1_000, "profile: steps between snapshots of the policy", low=1)
    eval_episodes: int = _f(32, "6.2: 32 independent episodes", low=1)
    final_episodes: int = _f(320, "register 18: OG-MARL, ten times as many at the end", low=1)

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type is float and type(value) is int:
                value = float(value)
                object.__setattr__(self, f.name, value)
            _check_setting(f, value)
        for name in ("steps", "policy_steps"):
            if getattr(self, name) % self.eval_every:
                raise ValueError(
                    f"{name} {getattr(self, name)} is no multiple of eval_every {self.eval_every}: the last snapshot must be "
                    "the last step"
                )

    def change(self, changes, origin="settings"):
        """Return a copy with some settings changed. Raises ValueError for an unknown name, with the nearest known one."""
        known = [f.name for f in fields(self)]
        for name in changes:
            check_name("setting", name, known, origin)
        try:
            return replace(self, **changes)
        except ValueError as e:
            raise ValueError(f"{origin}: {e}") from None


def _check_setting(f, value):
    """Raise ValueError for a value of another type than the field's, or outside its rules."""
    source, among = f.metadata["source"], f.metadata["among"]
    if type(value) is not f.type:
        raise ValueError(f"{f.name} is {value!r}, a {type(value).__name__}; expected {f.type.__name__} ({source})")
    if among and value not in among:
        raise ValueError(f"{f.name} is {value!r}; choose one of {', '.join(among)} ({source})")
    bounds = {key: f.metadata[key] for key in BOUNDS if key in f.metadata}
    within = all(BOUNDS[key][0](value, limit) for key, limit in bounds.items())
    if not within or (f.type is float and not math.isfinite(value)):
        rule = " and ".join(f"{BOUNDS[key][1]} {limit}" for key, limit in bounds.items())
        raise ValueError(f"{f.name} is {value}; it must be {rule} ({source})")


def load_params(path=None):
    """Read params.yaml and check all that it says.

    Args:
        path: another file. Default: the checkout's own.
    Returns:
        A dict.
    Raises:
        ValueError: the file, the section and the name or number that is wrong, with the nearest name; one line.
    """
    path = path or ROOT / "params.yaml"
    params = read_yaml(path)
    try:
        check_params(params)
    except ValueError as e:
        raise ValueError(f"{shown(path)}: {e}") from None
    return params


def check_params(params):
    """Raise ValueError for a name that does not exist and for a number outside its bounds, in any section of params.yaml."""
    check_mapping("the file", params, PARAMS_SECTIONS, PARAMS_SECTIONS)
    check_data("data", params["data"])
    check_whole("threads", params["threads"], 1)
    profiles = check_mapping("profiles", params["profiles"])
    variants = check_mapping("variants", params["variants"])
    check_name("profile", params["profile"], profiles, "profile")
    base = _paper(params)
    for name in variants:
        base.change(_variant(params, name), f"variant {name}")
    for algorithm in check_temperatures(params["temperatures"]):
        of_policies(params, algorithm, base)
    for name in profiles:
        of_profile = base.change(_profile(params, name)[0], f"profile {name}")
        for map_name, level in _data_sets_with_steps(params):
            of_profile.change(_steps(params, name, map_name, level), f"profile {name}, steps of {map_name} {level}")
    check_grid(params["grid"], variants, params["steps"])


def settings(params, profile, map_name="6h_vs_8z", level="medium", variant="default"):
    """Combine the settings of one cell: Table 2, the open points, the profile, its steps of the data set, the variant; later wins.

    Returns:
        (Hyper, [seed, ...])
    Raises:
        ValueError: a profile, variant or setting that does not exist, a number out of bounds, or bad seeds.
    """
    check_name("profile", profile, params["profiles"])
    check_name("variant", variant, params["variants"])
    hyper, lower = _paper(params), params["table_2"].get(LOWER)
    if lower and f"{map_name}-{level}" in lower["data sets"]:
        hyper = hyper.change({"beta": lower["value"]}, LOWER)
    chosen, seeds = _profile(params, profile)
    chosen |= _steps(params, profile, map_name, level)
    hyper = hyper.change(chosen, f"profile {profile}")
    return hyper.change(_variant(params, variant), f"variant {variant}"), seeds


def of_policies(params, algorithm, hyper, names=None):
    """Return the settings of each policy that a cell trains on one set of values: {temperature: Hyper}, the published one first.

    Args:
        params: as `load_params` returns them; `temperatures` are theirs.
        algorithm: its name; one without temperatures of its own trains the published policy alone.
        hyper: the settings of the cell.
        names: the temperatures wanted, default all.
    Raises:
        ValueError: an unknown temperature, with the nearest, or a setting out of bounds.
    """
    known = check_mapping("temperatures", params["temperatures"]).get(algorithm) or {PUBLISHED: {}}
    for name in names or ():
        check_name(f"temperature of {algorithm}", name, known)
    found = {
        name: hyper.change(known[name] or {}, f"temperature {name}") for name in known if not names or name in names
    }
    if hyper.schedule == "joint":  # the spread over the data is known when the values are finished
        found = {name: h for name, h in found.items() if h.advantage_scale != "std"}
    return found


def _paper(params):
    """The Hyper of Table 2 and the open points. Raises ValueError for a word that Table 2 does not have, or lacks."""
    words = {f.metadata["words"]: f.name for f in fields(Hyper) if f.metadata["words"]}
    table = check_mapping("table_2", params["table_2"], [*words, LOWER], words)
    hyper = Hyper().change({words[k]: v for k, v in table.items() if k != LOWER}, "table_2")
    if LOWER in table:
        keys = ("value", "data sets")
        lower = check_mapping(LOWER, table[LOWER], keys, keys)
        check_data_sets(f"{LOWER}, data sets", lower["data sets"])
        hyper.change({"beta": lower["value"]}, LOWER)
    return hyper.change(check_mapping("open_points", params["open_points"]), "open_points")


def _profile(params, name):
    """(the settings of a profile, its seeds). Raises ValueError for bad seeds or episode counts."""
    what = f"profile {name}"
    chosen = dict(check_mapping(what, params["profiles"][name], required=("steps", "seeds")))
    seeds = chosen.pop("seeds")
    check_seeds(what, seeds)
    if "data" in chosen:
        check_data(f"{what}, data", chosen.pop("data"))
    return chosen, seeds


def _steps(params, profile, map_name, level):
    """{"steps": a data set's own at a profile}, or {} where it has none."""
    check_steps(params["steps"], params["profiles"])
    own = ((params["steps"] or {}).get(map_name) or {}).get(level) or {}
    return {"steps": own[profile]} if profile in own else {}


def _data_sets_with_steps(params):
    """The (map, level) of every line under `steps`."""
    check_steps(params["steps"], params["profiles"])
    return [(m, level) for m, levels in (params["steps"] or {}).items() for level in levels or {}]


def _variant(params, name):
    """The changes that a variant makes."""
    return check_mapping(f"variant {name}", params["variants"][name])
