"""Hyper: every number that training depends on, each with its source. params.yaml holds the values."""

import difflib
from dataclasses import dataclass, field, fields, replace

import yaml

from omac.paths import ROOT


def _f(default, source, words=None, among=None):
    """A setting: its default, where it comes from, the paper's words for it in Table 2, its allowed values."""
    return field(default=default, metadata={"source": source, "words": words, "among": among})


@dataclass(frozen=True)
class Hyper:
    """Table 2 and the deviation register. `tau` is the expectile; the target update rate is `polyak`."""

    lr_value: float = _f(5e-4, "Table 2", "Value network learning rate")
    lr_policy: float = _f(5e-4, "Table 2", "Policy network learning rate")
    polyak: float = _f(0.005, "Table 2", "Target update rate")
    batch_size: int = _f(128, "Table 2; register 2: single time steps, all agents together", "Batch size")
    gamma: float = _f(0.99, "Table 2", "Discount factor")
    hidden: int = _f(256, "Table 2, A.1", "Hidden dimension")
    cca_hidden: int = _f(64, "Table 2, A.1", "CCA network hidden dimension")
    tau: float = _f(0.7, "Table 2, A.3", "Expectile parameter tau")
    beta: float = _f(
        1.0, "Table 2, A.3: 0.5 on good and medium of 3s5z_vs_3s6z and corridor", "Temperature parameter beta"
    )
    credit: str = _f("coupled", "Eq. 3; ablations of 6.4", among=("coupled", "independent", "tied"))
    local_value: str = _f("expectile", "Eq. 5; CVF-maxQ of 6.4.3", among=("expectile", "max"))
    threshold: float = _f(0.3, "Table 2: BCQ-MA", "Threshold (BCQ-MA)")
    alpha: float = _f(1.0, "Table 2: weight of CQL's penalty", "alpha (OMAR, CQL-MA)")
    logit_penalty: float = _f(0.01, "register 23: discrete BCQ")
    beta_policy: float = _f(0.1, "register 25: ICQ")
    alpha_value: float = _f(1_000.0, "register 25: ICQ")
    search: str = _f("argmax", "register 28: OMAR's search", among=("argmax", "cem"))
    search_weight: float = _f(0.5, "register 28: OMAR's c")
    search_samples: int = _f(10, "register 28: OMAR")
    search_rounds: int = _f(3, "register 28: OMAR")
    steps: int = _f(10_000, "register 1: profile")
    global_input: str = _f("state", "register 4: OMIGA", among=("state", "joint_obs"))
    bootstrap: str = _f("target", "register 8: OMIGA", among=("target", "online"))
    advantage: str = _f("target", "register 9: IQL, OMIGA", among=("target", "online"))
    max_weight: float = _f(100.0, "register 10: IQL")
    schedule: str = _f("joint", "register 11: learning curves need it", among=("joint", "sequential"))
    bootstrap_at_limit: bool = _f(True, "register 12: correct TD")
    reward: str = _f("step", "register 13: Eq. 6", among=("step", "return_to_go"))
    grad_clip: float = _f(1.0, "register 14: OMIGA")
    mask_actions: bool = _f(True, "register 16: ICQ, CFCQL")
    mask_dead: bool = _f(False, "register 17: OMIGA")
    eval_every: int = _f(1_000, "profile: steps between snapshots of the policy")
    eval_episodes: int = _f(32, "6.2: 32 independent episodes")
    final_episodes: int = _f(320, "register 18: OG-MARL, ten times as many at the end")

    def __post_init__(self):
        for f in fields(self):
            value, kind, among = getattr(self, f.name), f.type, f.metadata["among"]
            if kind is float and type(value) is int:
                object.__setattr__(self, f.name, float(value))
            elif type(value) is not kind:
                raise ValueError(
                    f"{f.name} is {value!r}, a {type(value).__name__}; expected {kind.__name__} ({f.metadata['source']})"
                )
            if among and value not in among:
                raise ValueError(f"{f.name} is {value!r}; choose one of {', '.join(among)} ({f.metadata['source']})")
        for name in (
            "steps",
            "batch_size",
            "eval_every",
            "eval_episodes",
            "final_episodes",
            "hidden",
            "cca_hidden",
            "max_weight",
            "lr_value",
            "lr_policy",
            "grad_clip",
            "beta_policy",
            "alpha_value",
            "search_samples",
            "search_rounds",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.threshold < 1:
            raise ValueError(
                f"threshold is {self.threshold}; it must lie in [0, 1): 0 allows every action, towards 1 only the likeliest"
            )
        if not 0 <= self.search_weight <= 1:
            raise ValueError(f"search_weight is {self.search_weight}; it must lie between 0 and 1")
        for name in ("alpha", "logit_penalty"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be below 0")
        if self.beta < 0:
            raise ValueError(
                f"beta is {self.beta}; it must not be below 0: 0 clones, larger trusts the values more (Eq. 8)"
            )
        for name, low, high in (("tau", 0, 1), ("gamma", 0, 1.0000001), ("polyak", 0, 1.0000001)):
            if not low < getattr(self, name) < high:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie between {low} and {int(high)}")
        if self.steps % self.eval_every:
            raise ValueError(
                f"steps {self.steps} is no multiple of eval_every {self.eval_every}: the last snapshot must be the last step"
            )

    def change(self, settings, origin="settings"):
        """A copy with `settings` changed. Raises ValueError for an unknown name, with the nearest known one."""
        known = [f.name for f in fields(self)]
        for name in settings:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1) or known
                raise ValueError(f"unknown setting {name!r} in {origin}; did you mean {', '.join(near)}?")
        return replace(self, **settings)


def load_params(path=None):
    """params.yaml as a dict. Raises ValueError for a section that is missing or unknown."""
    path = path or ROOT / "params.yaml"
    params = yaml.safe_load(path.read_text())
    expected = {"table_2", "open_points", "variants", "profiles", "steps", "grid", "profile", "data", "threads"}
    if set(params) != expected:
        raise ValueError(
            f"{path.name}: sections {sorted(set(params) ^ expected)} are unknown or missing; expected {sorted(expected)}"
        )
    return params


def settings(params, profile, map_name="6h_vs_8z", level="medium", variant="default"):
    """Hyper and the seeds of one cell: Table 2, then the open points, the profile, its steps of that data set, and the variant; later wins.

    Returns (Hyper, [seed, ...]). Raises ValueError for an unknown profile, variant or setting.
    """
    for kind, name, known in (("profile", profile, params["profiles"]), ("variant", variant, params["variants"])):
        if name not in known:
            raise ValueError(f"unknown {kind} {name!r} in params.yaml; there are {', '.join(known)}")
    words = {f.metadata["words"]: f.name for f in fields(Hyper) if f.metadata["words"]}
    table = dict(params["table_2"])
    low = table.pop("Temperature parameter beta, lower", {"value": 0.5, "data sets": []})
    if set(table) != set(words):
        raise ValueError(
            f"params.yaml, table_2: unknown or missing {sorted(set(table) ^ set(words))}; Table 2 has {sorted(words)}"
        )
    hyper = (
        Hyper().change({words[k]: v for k, v in table.items()}, "table_2").change(params["open_points"], "open_points")
    )
    if f"{map_name}-{level}" in low["data sets"]:
        hyper = hyper.change({"beta": low["value"]})
    chosen = dict(params["profiles"][profile])
    seeds = chosen.pop("seeds")
    chosen.pop("data", None)
    of_data_set = params["steps"].get(map_name, {}).get(level, {})
    if set(of_data_set) - set(params["profiles"]):
        raise ValueError(
            f"params.yaml, steps of {map_name} {level}: unknown profile {sorted(set(of_data_set) - set(params['profiles']))}; there are {', '.join(params['profiles'])}"
        )
    chosen["steps"] = of_data_set.get(profile, chosen["steps"])
    return hyper.change(chosen, f"profile {profile}").change(
        params["variants"][variant] or {}, f"variant {variant}"
    ), seeds
