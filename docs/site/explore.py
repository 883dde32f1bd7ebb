"""The page to touch: recorded battles to choose from, and the temperature of a policy on a slider. It needs no kernel."""

import csv
import json
from collections import defaultdict
from statistics import fmean, pstdev

import yaml

from omac.schema import NAMES

HEAD = """# Explore

Nothing here is computed in the browser: battles and numbers are the committed ones.
"""
BATTLES = """
## Battles

The battle of median return of each data set. Blue discs are ours, orange ones the enemy. A disc's fill is its health, a line is an attack, a cross a death.

<div class="explore" id="battle-picker">
<table>
{rows}
</table>
<figure><img src="../figures/{first}" alt="{alt}"><figcaption>{alt}</figcaption></figure>
</div>

"""
SLIDER = """
## Temperature

One set of values, one policy for each temperature. To the left a policy clones its data; to the right it follows the learned values more closely: the share of the data, which is the effective
sample size of the policy's weights as a share of the samples, falls. Points are means over seeds of the last policies, bars are ± 1 standard deviation.
The rows are those of [data/results.csv](../data/results.csv), the settings those of `temperatures` in [params.yaml](../params.yaml).

<div class="explore">
<p><label>data set <select id="dataset"></select></label> <label>algorithm <select id="algorithm"></select></label></p>
<p><label>temperature <input type="range" id="slider" min="0" max="1" step="1" value="0"></label> <output id="reading"></output></p>
<svg id="plot" viewBox="0 0 640 300" role="img" aria-label="Return of the last policy at each temperature"></svg>
</div>

<script type="application/json" id="rows">{rows}</script>

"""
SCRIPT = '<script src="../_static/explore.js"></script>\n'


def explore_page(root, maps, levels):
    """Return the page as Markdown.

    Args:
        root: the project's folder, with data/ and figures/.
        maps, levels: those that have recorded battles.
    """
    with open(root / "data" / "results.csv", encoding="utf-8") as file:
        rows = temperature_rows(csv.DictReader(line for line in file if not line.startswith("#")))
    settings = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8")).get("temperatures") or {}
    found = arrange(rows, settings)
    slider = SLIDER.format(rows=json.dumps(found).replace("<", "\\u003c")) if found else ""
    return HEAD + battles(root, maps, levels) + slider + SCRIPT


def battles(root, maps, levels):
    """Return the part with the battles: a table of links, which lead to the pictures where scripts do not run."""
    rows, names = [], []
    for map_name in maps:
        with open(root / "data" / "cards" / f"smax-{map_name}.csv", encoding="utf-8") as file:
            facts = {line["fact"]: line for line in csv.DictReader(x for x in file if not x.startswith("#"))}
        cells = []
        for level in levels:
            name = f"replay-{map_name}-{level}.gif"
            mean, wins = float(facts["return mean"][level]), float(facts["win rate"][level])
            about = f"{map_name}, {level}: mean return of the data {mean:.2f}, {wins:.0%} of the battles won"
            names.append((name, about))
            cells.append(f'<td><a href="../figures/{name}" title="{about}">{level}</a></td>')
        rows.append(f"<tr><th>{map_name}</th>{''.join(cells)}</tr>")
    return BATTLES.format(rows="\n".join(rows), first=names[0][0], alt=names[0][1])


def temperature_rows(rows):
    """Gather the last policies' scores: {(map, level, algorithm): {temperature: {column: [value of a seed]}}}."""
    found = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for row in rows:
        if row["kind"] == "final" and row["env"] == "smax" and row["variant"] == "default" and row["ratio"] == "100":
            if not row.get("temperature") or not row["return_mean"]:
                continue
            of_cell = found[row["map"], row["level"], row["algorithm"]][row["temperature"]]
            for column in ("return_mean", "win_rate", "weight_share"):
                if row.get(column):
                    of_cell[column].append(float(row[column]))
    return found


def arrange(rows, settings):
    """Order the temperatures of cells that have at least two, from cloning to the sharpest.

    The order is that of the effective sample share, where it was logged, else params.yaml's.

    Args:
        rows: as `temperature_rows` returns them.
        settings: params.yaml's `temperatures`.
    Returns:
        [{map, level, algorithm, points: [{name, changes, mean, std, wins, share}]}], empty where no cell has two.
    """
    found = []
    for (map_name, level, algorithm), of_cell in rows.items():
        known = settings.get(algorithm) or {}
        points = [
            {
                "name": name,
                "changes": ", ".join(f"{k} {v}" for k, v in known[name].items()) or "as published",
                "mean": round(fmean(of_cell[name]["return_mean"]), 3),
                "std": round(pstdev(of_cell[name]["return_mean"]), 3),
                "wins": round(fmean(of_cell[name]["win_rate"] or [0]), 3),
                "share": round(fmean(of_cell[name]["weight_share"]), 3) if of_cell[name]["weight_share"] else None,
            }
            for name in known
            if name in of_cell
        ]
        if all(point["share"] is not None for point in points):
            points.sort(key=lambda point: -point["share"])
        if len(points) > 1:
            found.append({"map": map_name, "level": level, "algorithm": NAMES[algorithm], "points": points})
    return found
