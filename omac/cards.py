"""Data cards: what a data set is, computed from its file."""

import hashlib

import numpy as np
import pandas as pd

from omac.episodes import Episodes, sha256
from omac.paths import shown


def facts(data):
    """The numbers of a card, {name: value}, of Episodes."""
    r, avail = data.returns, data.avail[data.rows()[1]]
    dead = avail.sum(-1) == 1
    taken = np.take_along_axis(avail, data.action[..., None].astype(np.int64), 2)
    starts = (data.start + np.arange(len(data) + 1))[1:-1]
    return {
        "episodes": len(data),
        "transitions": len(data.reward),
        "return mean": float(r.mean()),
        "return std": float(r.std()),
        "return min": float(r.min()),
        "return max": float(r.max()),
        "win rate": float(data.win.mean()),
        "length mean": float(data.lengths.mean()),
        "length max": int(data.lengths.max()),
        "time limits": int(data.truncated.sum()),
        "dead agent-steps": float(dead.mean()),
        "actions taken that were not available": int((~taken).sum()),
        "identical episodes": len(data) - len({hashlib.sha256(e).digest() for e in np.split(data.obs, starts)}),
    }


def policies(data):
    """One row per behaviour policy: share of the episodes, mean return here and as measured, win rate."""
    own = pd.DataFrame({"policy": data.policy, "return": data.returns, "win": data.win}).groupby("policy")
    table = own.agg(
        episodes=("return", "size"),
        share=("return", lambda x: len(x) / len(data)),
        return_mean=("return", "mean"),
        win_rate=("win", "mean"),
    )
    table.insert(0, "name", [data.about["policies"][i] for i in table.index])
    if "policy_returns" in data.about:
        table["return_measured"] = [data.about["policy_returns"][i] for i in table.index]
    return table.reset_index(drop=True)


def text(path):
    """The card of a file as printed by `python -m omac card`. Raises DataError for a file that does not pass the checks."""
    data = Episodes.load(path)
    about = data.about
    lines = [
        f"{shown(path)}",
        f"  {about['env']}:{about['map']}, level {about['level']}, from {about['source']}, seed {about['seed']}"
        + (
            f", a sample (seed {about['sample_seed']}) of {about['sample_of']} episodes, parent {about['parent_sha256'][:12]}"
            if "sample_of" in about
            else ""
        ),
        *([f"  {about['note']}"] if "note" in about else []),
        f"  agents {data.spec.n}, observation {data.spec.obs}, state {data.spec.state}, actions {data.spec.actions}, horizon {data.spec.horizon}",
        f"  sha256 {sha256(path)}",
    ]
    lines += [f"  {k:38} {v:.4g}" if isinstance(v, float) else f"  {k:38} {v}" for k, v in facts(data).items()]
    return "\n".join([*lines, "", policies(data).to_string(index=False, float_format="%.3f")])
