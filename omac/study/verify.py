"""Do my results equal the authors'? Data collected anew, committed policies fought again, one cell trained again."""

import os
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from omac.analysis.agreement import DIFFERENT, SAME, WITHIN, agreement, compare_means
from omac.analysis.results import gather
from omac.config.hyper import load_params
from omac.datasets import digest
from omac.datasets.registry import digest_path
from omac.files import check_sums, checked_bytes, read_rows, read_table
from omac.paths import ROOT, shown
from omac.study.grid import plan, result_files
from omac.study.pipeline import ENV
from omac.study.policies import KEPT, fight, read_policy

ANEW = ("smax-6h_vs_8z-medium-100", "bc", "default", "laptop")  # trained anew: a few minutes on one core


class Finding(NamedTuple):
    """What was verified, one of the three words, and in what it shows."""

    what: str
    word: str
    detail: str


def rows():
    """Hold the committed files of rows against their checksums, and results.csv against what they gather to."""
    params = load_params()
    with tempfile.TemporaryDirectory() as folder:
        again, absent = gather(ROOT / "data" / "results", Path(folder) / "results.csv", result_files(params))
        same = again.read_bytes() == (ROOT / "data" / "results.csv").read_bytes() and not absent
    detail = f"{len(result_files(params))} cells, data/results.csv is what they gather to"
    return Finding("rows of the cells", SAME if same else DIFFERENT, detail if same else f"not so: {detail}")


def files():
    """Hold every other committed table and policy against its checksum."""
    data = ROOT / "data"
    listed = [path for sums in sorted(data.glob("*/SHA256SUMS")) for path in check_sums(sums)]
    for path in data.glob("*/*.safetensors"):
        checked_bytes(path)  # none may be missing in its list
    sealed = [path for path in sorted(data.glob("*/*.csv")) if path not in listed]
    for path in sealed:
        read_table(path)
    return Finding("committed files", SAME, f"{len(listed) + len(sealed)} tables and policies have their sha256")


def raw(name, map_name, level):
    """Collect the first battles of a raw data set anew and hold them against the digest, episode by episode."""
    from omac.behaviour.collect import collect

    data = load_params()["data"]
    wanted = digest.read(digest_path(name)).episodes
    part = next(islice(collect(map_name, level, data["pull_episodes"], data["seed"], progress=False), 1))
    found = digest.of(replace(part, id=np.arange(len(part)))).episodes  # ids are places in the file
    wrong = [i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b]
    detail = f"the first {len(found)} of {len(wanted)} episodes collected anew"
    if wrong:
        detail += f": {len(wrong)} differ, the first is episode {wrong[0]} in {digest.fields_of(found[wrong[0]], wanted[wrong[0]])}"
    return Finding(f"data {name}", DIFFERENT if wrong else SAME, detail)


def policy(path):
    """Let a kept policy fight its battles again."""
    kept = read_policy(path)
    found = fight(kept.about, kept.state)
    same = all(np.array_equal(found[k], getattr(kept, k)) for k in ("win", "length"))
    same &= bool(np.allclose(found["returns"], kept.returns, rtol=0, atol=1e-3))
    word = SAME if same else compare_means(found["returns"], kept.returns)
    equal = int((np.abs(found["returns"] - kept.returns) < 1e-3).sum())
    detail = f"{equal} of {len(kept.returns)} battles equal; return {found['returns'].mean():.2f}, kept {kept.returns.mean():.2f}"
    return Finding(f"policy {path.stem}", word, detail)


def cell(dataset, algorithm, variant, profile):
    """Train one cell anew, beside the committed one, and hold its final returns against the committed ones, seed by seed."""
    from omac.study import cell as study_cell
    from omac.study.prepare import ensure

    ensure(dataset)
    name = f"{dataset}-{algorithm}" + ("" if variant == "default" else f"-{variant}")
    with tempfile.TemporaryDirectory() as folder:
        study_cell.BUILD = Path(folder)  # its own checkpoint: a finished one would only be read
        ours = study_cell.run_cell(
            dataset, algorithm, variant, profile, Path(folder) / "rows.csv", "cpu", progress=False
        )[0]
        line = agreement(
            read_rows(Path(folder) / "rows.csv"), read_rows(ROOT / "data" / "results" / f"{name}.csv")
        ).iloc[0]
    detail = (
        f"return {line['return here']}, committed {line['return of the reference']}, {ours['seed'].nunique()} seeds"
    )
    return Finding(f"cell {name}", line["agreement"], detail)


def verify(jobs=2):
    """Run every check, `jobs` side by side, and print each finding as it comes. Returns them, a list of Finding.

    A check that cannot be made at all counts as different, with its reason.
    """
    todo = [(cell, ANEW), (rows, ()), (files, ())]
    todo += [(raw, (name, x["map"], x["level"])) for name, x in plan(load_params())["raws"].items()]
    todo += [(policy, (path,)) for path in sorted(KEPT.glob("*.safetensors"))]
    os.environ.update(ENV, XLA_FLAGS="--xla_cpu_multi_thread_eigen=false")
    findings = []
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        waiting = {pool.submit(check, *given): (check, given) for check, given in todo}
        for done in as_completed(waiting):
            check, given = waiting[done]
            try:
                found = done.result()
            except (ValueError, OSError, RuntimeError) as e:
                about = " ".join(shown(x) if isinstance(x, Path) else str(x) for x in given)
                found = Finding(f"{check.__name__} {about}".strip(), DIFFERENT, str(e))
            findings.append(found)
            print(f"{len(findings):3} of {len(todo)}  {found.what:42} {found.word}: {found.detail}", flush=True)
    return findings


def summary(findings):
    """Say in one line how many findings have each word."""
    counts = [f"{sum(f.word == word for f in findings)} {word}" for word in (SAME, WITHIN, DIFFERENT)]
    return ", ".join(counts)
