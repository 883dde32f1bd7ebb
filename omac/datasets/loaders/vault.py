"""OG-MARL's Vault: <name>.vlt/<uid>/ is an OCDBT store of zarr arrays [1, time, ...], battles back to back."""

import json
import math

import numpy as np
import psutil

from omac.data.hdf5 import SMALL
from omac.data.validation import DataError, beyond, returns_to_go
from omac.datasets.loaders import elsewhere, outcomes
from omac.datasets.loaders.starcraft import (
    NO_FINAL_VIEW,
    close_battle,
    flags,
    group_battles,
    limit_of,
    numbers,
    sizes_of,
    typed,
    whole,
)
from omac.paths import shown

KEYS = ("observations", "infos.state", "infos.legals", "actions", "rewards", "terminals")


def load(folder, about):
    """Yield Episodes from the uid of a Vault below `folder` that is called like the level, whatever its case.

    Raises DataError for another layout, RuntimeError when tensorstore is not installed.
    """
    uid = _uid(folder, about["level"])
    name = shown(uid)
    store = Store(uid)
    reward = store["rewards"]
    numbers(name, "rewards", reward)
    if found := beyond("rewards", reward, np.finfo(np.float32).max):
        raise DataError(name, *found)
    if (reward != reward[:, :1]).any():
        t = int(np.argmax((reward != reward[:, :1]).any(1)))
        raise DataError(
            name,
            "rewards",
            f"agents are paid {reward[t].tolist()} at step {t}",
            "no team reward: not a cooperative task, and not SMAC",
        )
    reward = reward[:, 0]
    end = flags(name, "terminals", store["terminals"]).all(-1)  # a flag of one agent alone is its death
    cut = flags(name, "truncations", store["truncations"]).all(-1) if store.has("truncations") else np.zeros_like(end)
    stop = np.flatnonzero(end | cut) + 1
    if not len(stop):
        raise DataError(
            name, "terminals", f"no end in {len(end)} steps", "deaths alone were recorded, or another layout"
        )
    start = np.concatenate([[0], stop[:-1]])
    steps = stop - start
    starcraft = elsewhere.is_starcraft(about["env"])
    limit = limit_of(about["map"], name) if starcraft else int(steps.max())
    if steps.max() > limit:
        raise DataError(name, "terminals", f"a battle of {steps.max()} steps, the limit is {limit}", "an end was lost")
    offsets, paid_for = np.append(start, stop[-1]), reward[: stop[-1]].astype(np.float64)
    if found := returns_to_go(paid_for, offsets):
        raise DataError(name, *found)
    if starcraft:
        paid = outcomes.pay(about["map"], paid_for, offsets)
        outcomes.check_scale(name, np.add.reduceat(paid_for, start), paid)
        win, unknown = end[stop - 1] & paid.won, end[stop - 1] & paid.odd & (steps < limit)
        truncated = ~win & (~end[stop - 1] | (steps == limit))
        how = [outcomes.told(about["map"], False, int(unknown.sum()))]
    else:
        truncated, win, unknown = ~end[stop - 1], np.zeros(len(stop), bool), np.ones(len(stop), bool)
        how = [elsewhere.told(len(stop), int(truncated.sum()))]
        about = {**about, "reward_scale": elsewhere.reward_scale(name, paid_for, offsets)}
    if (truncated & (steps == 1)).any():
        raise DataError(name, "truncations", "a battle was cut off after one step", "flags that are not ends")
    cut_off = f"{int(truncated.sum())} of {len(stop)} battles: truncated, and undecided where their length is the limit"
    said = [f"{NO_FINAL_VIEW} ({cut_off})" if starcraft else elsewhere.NO_FINAL_VIEW]
    if stop[-1] < len(end):
        said.append(f"{len(end) - stop[-1]} steps of an unfinished last battle are left out")
    obs, state, legal, _ = map(store.shape, KEYS[:4])
    widths = [*obs[-2:], int(np.prod(state[2:])), legal[-1]]
    about = {
        **about,
        "horizon": limit,
        "sizes": sizes_of(about["env"], about["map"], widths),
        "conversion": ". ".join(said + how),
    }

    def battles():
        for e, (a, b) in enumerate(zip(start, stop, strict=True)):
            obs, state, legal, action = (store.get(k, int(a), int(b)) for k in KEYS[:4])
            battle = close_battle(
                obs, state.reshape(b - a, -1), legal, action, reward[a:b], truncated[e], win[e], unknown[e]
            )
            yield typed(f"{name}: battle {e}", battle, about["env"])

    yield from group_battles(battles(), about)


def rows(uid):
    """Read the arrays of one uid as they are: the names of Episodes, and `stop` int [N], where episodes end. Raises DataError."""
    store, name = Store(uid), shown(uid)
    view = {k: store[key] for k, key in zip(("obs", "state", "avail", "action"), KEYS[:4], strict=True)}
    end, cut = (flags(name, key, store[key]).all(-1) for key in ("terminals", "truncations"))
    for key in ("obs", "state", "reward"):
        numbers(name, key, view[key] if key in view else store["rewards"])
    avail = flags(name, "infos.legals", view["avail"])
    whole(name, "actions", view["action"], avail.shape[-1])
    paid = store["rewards"][:, 0]
    return {
        **view,
        "avail": avail,
        "reward": paid,
        "terminated": end,
        "truncated": cut,
        "stop": np.flatnonzero(end | cut) + 1,
    }


def _uid(folder, level):
    found = sorted(p.parent for p in folder.rglob("metadata.json"))
    right = [p for p in found if p.name.lower() == level]
    if len(right) != 1:
        names = [p.name for p in found]
        raise DataError(
            shown(folder), "metadata.json", f"uids {names}, one called {level} is needed", "another archive"
        )
    try:
        with open(right[0] / "metadata.json", encoding="utf-8") as f:
            version = math.floor(json.loads(f.read(SMALL))["version"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as e:
        raise DataError(
            shown(right[0]), "metadata.json", repr(e), "not a Vault's metadata: get the archive again"
        ) from None
    if version > 1:
        raise DataError(
            shown(right[0]), "metadata.json", f"Vault version {version}", "newer than the 1 that is known here"
        )
    return right[0]


class Store:
    """The arrays of one uid up to `vault_index`, without their leading axis of 1; datasets are named with a dot at the end."""

    AHEAD = 20_000  # steps read at a time
    RATIO, CHUNK = 5_000, 1 << 30  # what a byte on the disk may stand for; bytes of a chunk

    def __init__(self, folder):
        try:
            import tensorstore
        except ImportError:
            raise RuntimeError("reading a Vault needs tensorstore: pip install -e '.[vault]'") from None
        self.ts, self.folder, self.open, self.held = tensorstore, folder, {}, {}
        self.size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        index = self._opened("vault_index", "vault_index")
        if index.rank > 1 or index.size != 1 or index.dtype.numpy_dtype.kind not in "iu":
            raise DataError(shown(folder), "vault_index", f"{index.dtype.name} {index.shape}", "not a Vault's index")
        self.steps = int(self._read("vault_index", index).ravel()[0])
        self._check_index()

    def _check_index(self):
        """Raise DataError unless the arrays hold `vault_index` steps and nothing after them."""
        there = min(self.shape(key)[1] for key in KEYS)
        if not 0 < self.steps <= there:
            found = f"{self.steps} steps, the arrays have {there}"
            raise DataError(shown(self.folder), "vault_index", found, "a damaged or empty Vault: get the archive again")
        legal = self._opened("infos.legals", "infos.legals.")
        after = legal[0, self.steps : min(self.steps + 1, legal.shape[1])]
        if np.any(self._read("infos.legals", after)):
            found = f"{self.steps} steps, and another one is written after them"
            raise DataError(
                shown(self.folder), "vault_index", found, "a Vault that was not closed: battles would be lost"
            )

    def _opened(self, key, path):
        if key not in self.open:
            file = {"driver": "file", "path": f"{self.folder.resolve()}/"}
            store = {"driver": "ocdbt", "base": file, "path": path}
            try:
                self.open[key] = self.ts.open({"driver": "zarr", "kvstore": store}, open=True, read=True).result()
            except ValueError as e:
                raise self._bad(key, e, "another layout than OG-MARL's, or a cut archive") from None
            self._check(key, self.open[key])
        return self.open[key]

    def _check(self, key, x):
        """Raise DataError for an array of other things than numbers, of other axes than [1, time, ...], or in huge chunks."""
        kind = x.dtype.numpy_dtype
        if kind.kind not in "biuf" or (key != "vault_index" and (x.rank < 3 or x.shape[0] != 1)):
            raise DataError(
                shown(self.folder), key, f"{kind} {x.shape}", "another layout than OG-MARL's [1, time, agents, ...]"
            )
        chunk = math.prod(x.chunk_layout.read_chunk.shape) * kind.itemsize
        if chunk > self.CHUNK:
            raise DataError(shown(self.folder), key, f"chunks of {chunk} bytes", "damaged sizes: get the archive again")

    def _read(self, key, what):
        size, free = what.size * what.dtype.numpy_dtype.itemsize, psutil.virtual_memory().available
        if size > self.RATIO * self.size + SMALL:
            found = f"declares {size} bytes, the Vault has {self.size}"
            raise DataError(shown(self.folder), key, found, "damaged sizes: get the archive again")
        if size > free:
            found = f"{size} bytes, {free} bytes of memory are free"
            raise DataError(shown(self.folder), key, found, "a small machine, or damaged sizes")
        try:
            return np.asarray(what.read().result())
        except (ValueError, MemoryError, OverflowError) as e:
            raise self._bad(key, e, "a damaged archive: get it again") from None

    def _bad(self, key, error, cause):
        return DataError(shown(self.folder), key, str(error).split(" [")[0][:200], cause)

    def has(self, key):
        """Say whether the Vault has an array of a name."""
        try:
            return bool(self._opened(key, f"{key}."))
        except DataError as e:
            if "NOT_FOUND" in str(e):
                return False
            raise

    def shape(self, key):
        """Return the shape of an array as it is stored."""
        return self._opened(key, f"{key}.").shape

    def get(self, key, a, b):
        """Return rows a to b; reads AHEAD, since battles are asked for in order."""
        lo, held = self.held.get(key, (0, ()))
        if not lo <= a <= b <= lo + len(held):
            lo = a
            held = self._read(key, self._opened(key, f"{key}.")[0, a : min(self.steps, max(b, a + self.AHEAD))])
            self.held[key] = (lo, held)
        return held[a - lo : b - lo]

    def __getitem__(self, key):
        return self._read(key, self._opened(key, f"{key}.")[0, : self.steps])
