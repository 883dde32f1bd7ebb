"""One function per figure; all styling is here. Each returns a matplotlib Figure, `save` writes it with the same bytes every time."""

import io

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from omac.paths import atomic

COLOURS = {  # Okabe-Ito, safe for colour-blind readers
    "omac": "#0072B2",
    "bc": "#E69F00",
    "icq": "#009E73",
    "omar": "#CC79A7",
    "bcq": "#56B4E9",
    "cql": "#D55E00",
    "data": "#555555",
}
LABELS = {
    "omac": "OMAC",
    "bc": "BC",
    "icq": "ICQ",
    "omar": "OMAR",
    "bcq": "BCQ-MA",
    "cql": "CQL-MA",
    "data": "data set",
}
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.dpi": 110,
    "savefig.dpi": 130,
    "svg.hashsalt": "omac",
}
BATTLE = "battle-steps (millions)"


def _figure(width, height, columns=1):
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, axes


def save(figure, path):
    """Write a figure as PNG of at most 256 colours, a third of the size, atomically and without dates. Returns the path."""
    with mpl.rc_context(STYLE), atomic(path) as part:
        full = io.BytesIO()
        figure.savefig(full, format="png", metadata={"Software": None})
        Image.open(full).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(part, "PNG", optimize=True)
    return path


def scores(rows, title):
    """Learning curves: return and win rate over gradient steps, mean and one std over seeds, with the data set's own mean.

    rows: tidy rows of one data set, of kind eval and data (algorithm, kind, step, seed, episodes, return_mean, win_rate).
    """
    figure, axes = _figure(7.2, 2.9, 2)
    for ax, column, label in ((axes[0], "return_mean", "return (0-20)"), (axes[1], "win_rate", "win rate")):
        for algorithm, group in rows[rows["kind"] == "eval"].groupby("algorithm"):
            by_step = group.groupby("step")[column].agg(["mean", lambda x: x.std(ddof=0)])
            x, mean, std = by_step.index.to_numpy(float), *by_step.to_numpy(float).T
            ax.plot(x, mean, color=COLOURS.get(algorithm), label=LABELS.get(algorithm, algorithm))
            ax.fill_between(x, mean - std, mean + std, color=COLOURS.get(algorithm), alpha=0.18, lw=0)
        ax.axhline(
            rows.loc[rows["kind"] == "data", column].mean(), color=COLOURS["data"], ls="--", lw=1, label="data set"
        )
        ax.set(xlabel="gradient steps", ylabel=label)
    axes[0].legend(loc="best")
    evals = rows[rows["kind"] == "eval"]
    figure.suptitle(
        f"{title}: {evals['seed'].nunique()} seeds, {int(evals['episodes'].iloc[0])} battles a point, band ± 1 std",
        fontsize=9,
    )
    return figure


def values(log, probe, title):
    """Have the values arrived? Q_tot over steps beside the discounted return that followed, and their scatter at the end.

    log: DataFrame with step, seed, q_tot, return_followed and, where there are weights, weight_std; probe: {"q_tot", "ret"} [K,P].
    """
    figure, axes = _figure(9.6, 2.9, 3)
    weighed = "weight_std" in log  # BCQ and CQL weigh nothing
    mean = log.groupby("step")[["q_tot", "return_followed", *(["weight_std"] if weighed else [])]].mean()
    axes[0].plot(mean.index, mean["q_tot"], color=COLOURS["omac"], label="mean $Q_{tot}(o, a)$")
    axes[0].plot(
        mean.index,
        mean["return_followed"],
        color=COLOURS["data"],
        ls="--",
        label="mean discounted return that followed",
    )
    axes[0].set(xlabel="gradient steps", ylabel="value (discounted return)")
    axes[0].set_ylim(0, 1.45 * max(mean["q_tot"].max(), mean["return_followed"].max()))
    axes[0].legend(loc="upper left", fontsize=8)
    ret, q = probe["ret"][0], probe["q_tot"][0]
    axes[1].scatter(ret, q, s=3, alpha=0.3, color=COLOURS["omac"], lw=0)
    ends = [min(ret.min(), q.min()), max(ret.max(), q.max())]
    axes[1].plot(ends, ends, color="black", lw=0.8, ls=":")
    axes[1].set(
        xlabel="discounted return that followed",
        ylabel="$Q_{tot}(o, a)$",
        title=f"one seed, correlation {np.corrcoef(ret, q)[0, 1]:.2f}",
    )
    axes[1].title.set_fontsize(9)
    if weighed:
        axes[2].plot(mean.index, mean["weight_std"], color=COLOURS["omac"])
        axes[2].set(xlabel="gradient steps", ylabel=r"std of $\exp(\beta A)$")
        axes[2].set_ylim(bottom=0)
    else:
        axes[2].axis("off")
    figure.suptitle(title, fontsize=9)
    return figure


def histogram(data, title):
    """How the episodes of a data set, Episodes, ended: returns of lost, timed-out and won battles, and of unknown outcomes."""
    figure, axes = _figure(4.6, 2.6)
    known = ~data.win & ~data.unknown
    lost = known & data.terminated[data.start[1:] - 1]
    parts = [
        (lost, "lost", "#D55E00"),
        (known & ~lost, "time limit", "#CC79A7"),
        (data.win, "won", "#009E73"),
    ]
    if data.unknown.any():
        parts.append((data.unknown, "unknown", "#999999"))
    for mask, label, colour in parts:
        axes[0].hist(
            data.returns[mask], np.arange(0, 21, 0.5), color=colour, label=f"{label} ({mask.mean():.0%})", alpha=0.85
        )
    axes[0].set(xlabel="return (0-20)", ylabel="episodes")
    axes[0].legend()
    figure.suptitle(title, fontsize=9)
    return figure


def behaviour(curve, snapshots, title):
    """MAPPO's learning curve by seed, and the snapshots that the levels pool.

    curve: seed, steps, return of every update; snapshots: level, steps, return as measured. Both DataFrames.
    """
    figure, axes = _figure(5.6, 3.0)
    for seed, group in curve.groupby("seed"):
        axes[0].plot(
            group["steps"] / 1e6,
            group["return"],
            lw=1,
            color="#999999",
            label="MAPPO, per seed" if seed == curve["seed"].min() else None,
        )
    for level, colour in (("poor", "#D55E00"), ("medium", "#E69F00"), ("good", "#009E73")):
        chosen = snapshots[snapshots["level"] == level]
        axes[0].scatter(
            chosen["steps"] / 1e6,
            chosen["return"],
            s=14,
            color=colour,
            zorder=3,
            label=f"{level}: {len(chosen)} snapshots",
        )
    axes[0].set(xlabel=BATTLE, ylabel="mean return (0-20)")
    axes[0].legend(loc="lower right", fontsize=8)
    figure.suptitle(title, fontsize=9)
    return figure


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
