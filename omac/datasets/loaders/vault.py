"""OG-MARL's Vault: <name>.vlt/<uid>/ is an OCDBT store of zarr arrays [1, time, ...], battles back to back."""

import json

import numpy as np

from omac.data.validation import DataError
from omac.datasets.loaders.starcraft import NO_FINAL_VIEW, WIN, close_battle, group_battles, limit_of, sizes_of
from omac.paths import shown


def load(folder, about):
    """Yield Episodes from the uid of a Vault below `folder` that is called like the level, whatever its case.

    Raises DataError for another layout, RuntimeError when tensorstore is not installed.
    """
    uid = _uid(folder, about["level"])
    name = shown(uid)
    store = _Store(uid)
    reward = store["rewards"]
    if (reward != reward[:, :1]).any():
        t = int(np.argmax((reward != reward[:, :1]).any(1)))
        raise DataError(
            name, "rewards", f"agents are paid {reward[t].tolist()} at step {t}", "no team reward: not SMAC"
        )
    reward = reward[:, 0]
    end = store["terminals"].astype(bool).all(-1)  # a flag of one agent alone is its death
    cut = store["truncations"].astype(bool).all(-1) if store.has("truncations") else np.zeros_like(end)
    stop = np.flatnonzero(end | cut) + 1
    if not len(stop):
        raise DataError(
            name, "terminals", f"no end in {len(end)} steps", "deaths alone were recorded, or another layout"
        )
    start, limit = np.concatenate([[0], stop[:-1]]), limit_of(about["map"], name)
    steps, total = stop - start, np.add.reduceat(reward[: stop[-1]].astype(np.float64), start)
    if steps.max() > limit:
        raise DataError(name, "terminals", f"a battle of {steps.max()} steps, the limit is {limit}", "an end was lost")
    win = end[stop - 1] & (total >= WIN)
    truncated = ~win & (~end[stop - 1] | (steps == limit))
    if (truncated & (steps == 1)).any():
        raise DataError(name, "truncations", "a battle was cut off after one step", "flags that are not ends")
    said = [
        f"{NO_FINAL_VIEW} ({int(truncated.sum())} of {len(stop)} battles: truncated, and undecided where their length is the limit)"
    ]
    if stop[-1] < len(end):
        said.append(f"{len(end) - stop[-1]} steps of an unfinished last battle are left out")
    keys = ("observations", "infos.state", "infos.legals", "actions")
    widths = [*store.shape(keys[0])[-2:], int(np.prod(store.shape(keys[1])[2:])), store.shape(keys[2])[-1]]
    about = {
        **about,
        "horizon": limit,
        "sizes": sizes_of(about["env"], about["map"], widths),
        "conversion": ". ".join([*said, "Won: terminated with a return of 20 or more."]),
    }

    def battles():
        for a, b, short, won in zip(start, stop, truncated, win, strict=True):
            obs, state, legal, action = (store.get(k, int(a), int(b)) for k in keys)
            yield close_battle(obs, state.reshape(b - a, -1), legal > 0, action, reward[a:b], short, won)

    yield from group_battles(battles(), about)


def _uid(folder, level):
    found = sorted(p.parent for p in folder.rglob("metadata.json"))
    right = [p for p in found if p.name.lower() == level]
    if len(right) != 1:
        names = [p.name for p in found]
        raise DataError(
            shown(folder), "metadata.json", f"uids {names}, one called {level} is needed", "another archive"
        )
    try:
        version = json.loads((right[0] / "metadata.json").read_text())["version"]
    except (ValueError, KeyError, TypeError) as e:
        raise DataError(
            shown(right[0]), "metadata.json", repr(e), "not a Vault's metadata: get the archive again"
        ) from None
    if version // 1 > 1:
        raise DataError(
            shown(right[0]), "metadata.json", f"Vault version {version}", "newer than the 1 that is known here"
        )
    return right[0]


class _Store:
    """The arrays of one uid up to `vault_index`, without their leading axis of 1; datasets are named with a dot at the end."""

    AHEAD = 20_000  # steps read at a time

    def __init__(self, folder):
        try:
            import tensorstore
        except ImportError:
            raise RuntimeError("reading a Vault needs tensorstore: pip install -e '.[vault]'") from None
        self.ts, self.folder, self.open, self.held = tensorstore, folder, {}, {}
        index = self._opened("vault_index", "vault_index")
        self.steps = int(self._read("vault_index", index).ravel()[0])

    def _opened(self, key, path):
        if key not in self.open:
            store = {"driver": "ocdbt", "base": f"file://{self.folder.resolve()}/", "path": path}
            try:
                self.open[key] = self.ts.open({"driver": "zarr", "kvstore": store}, open=True, read=True).result()
            except ValueError as e:
                raise self._bad(key, e, "another layout than OG-MARL's, or a cut archive") from None
        return self.open[key]

    def _read(self, key, what):
        try:
            return np.asarray(what.read().result())
        except ValueError as e:
            raise self._bad(key, e, "a damaged archive: get it again") from None

    def _bad(self, key, error, cause):
        return DataError(shown(self.folder), key, str(error).split(" [")[0].replace("\n", " ")[:200], cause)

    def has(self, key):
        try:
            return bool(self._opened(key, f"{key}."))
        except DataError:
            return False

    def shape(self, key):
        return self._opened(key, f"{key}.").shape

    def get(self, key, a, b):
        """Rows a to b; reads AHEAD, since battles are asked for in order."""
        lo, held = self.held.get(key, (0, ()))
        if not lo <= a <= b <= lo + len(held):
            lo = a
            held = self._read(key, self._opened(key, f"{key}.")[0, a : min(self.steps, max(b, a + self.AHEAD))])
            self.held[key] = (lo, held)
        return held[a - lo : b - lo]

    def __getitem__(self, key):
        return self._read(key, self._opened(key, f"{key}.")[0, : self.steps])
