"""A battle as an animated picture."""

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from omac.paths import FIGURES, atomic
from omac.plots.style import STYLE


def replays(parts, folder=FIGURES):
    """Draw the battle of median return of each level of a SMAX map, {level: Episodes}, as replay-<map>-<level>.gif.

    Returns the paths; none for data of another environment, whose states it cannot read.
    """
    made = []
    for level, data in parts.items():
        if data.spec.env == "smax":
            middle = int(np.argsort(data.returns, kind="stable")[len(data) // 2])
            path = folder / f"replay-{data.spec.map}-{level}.gif"
            made.append(replay(data, middle, path, f"{data.spec.env}:{data.spec.map} {level}"))
    return made


def replay(data, episode, path, title):
    """An animated battle, drawn from the states and actions of one episode of a SMAX data set; saved as GIF at 8 steps a second.

    Blue discs are ours, orange ones the enemy; a disc's fill is its health, a line is an attack, a cross a death.
    Returns the path. Raises ValueError for another environment, whose states it cannot read.
    """
    if data.spec.env != "smax":
        raise ValueError(f"a replay is drawn from SMAX states; these are battles of {data.spec.env}:{data.spec.map}")
    n, allies = data.spec.state // 12, data.spec.n
    first, last = data.start[episode] + episode, data.start[episode + 1] + episode
    frames, seen = [], None
    moved = data.state[first : last + 1, : n * 10].reshape(-1, n, 10)
    where = moved[..., 1:3][moved[..., 0] > 0]  # the part of the field that the battle takes place on
    middle, half = (where.min(0) + where.max(0)) / 2, (where.max(0) - where.min(0)).max() / 2 + 1.5
    box = np.stack([middle - half, middle + half], 1)
    outcome = "won" if data.win[episode] else "time limit" if data.truncated[data.start[episode + 1] - 1] else "lost"
    for t, row in enumerate(range(first, last + 1)):
        unit = data.state[row, : n * 10].reshape(n, 10)
        alive = unit[:, 0] > 0
        seen = unit[:, 1:3].copy() if seen is None else np.where(alive[:, None], unit[:, 1:3], seen)
        action = data.action[row - episode] if row < last else np.zeros(allies, int)
        total = data.reward[data.start[episode] : row - episode].sum()
        caption = f"{title}\nstep {t}, return {total:.1f}{', ' + outcome if row == last else ''}"
        frames.append(_frame(seen, unit[:, 0], alive, action, allies, caption, box))
    palette = frames[0].quantize(48)
    frames = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    frames += frames[-1:] * 8  # rest on the outcome for a second
    with atomic(path) as part:
        frames[0].save(part, format="GIF", save_all=True, append_images=frames[1:], duration=125, loop=0, optimize=True)
    return path


def _frame(at, health, alive, action, allies, title, box):
    with mpl.rc_context({**STYLE, "figure.dpi": 80}):
        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        ax = figure.subplots()
    for i, a in enumerate(action):
        if a >= 5 and alive[i]:
            ax.plot(*np.stack([at[i], at[allies + a - 5]]).T, color="#0072B2", lw=1, alpha=0.7)
    for who, colour in ((slice(0, allies), "#0072B2"), (slice(allies, None), "#D55E00")):
        x, h, living = at[who], health[who], alive[who]
        ax.scatter(*x[living].T, s=90, facecolors="white", edgecolors=colour, lw=1.5, zorder=2)
        ax.scatter(*x[living].T, s=90 * h[living], color=colour, lw=0, zorder=3)
        ax.scatter(*x[~living].T, s=25, marker="x", color=colour, alpha=0.5, lw=1, zorder=1)
    ax.set(xlim=box[0], ylim=box[1], xticks=[], yticks=[], aspect="equal")
    ax.spines[:].set_visible(True)
    ax.set_title(title, fontsize=9)
    ax.grid(False)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
