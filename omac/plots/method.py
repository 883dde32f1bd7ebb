"""Figures of the method, one function each."""

from typing import NamedTuple

import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from omac.plots.style import COLOURS, PAGE, panels, titled_legend

LINES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00")  # Okabe-Ito
BLUE, ORANGE, GREEN, PURPLE, RED = LINES
GREY, SKY = COLOURS["data"], "#56B4E9"


class Arrow(NamedTuple):
    """An arrow of `factorization`: the boxes that it joins, and its corners, (x, y) each."""

    source: str
    target: str
    corners: tuple


ARROWS = (
    Arrow("o", "V_share", ((0.97, 4.95), (1.15, 4.95), (1.15, 5.75), (7.47, 5.75))),
    Arrow("o", "f_v1", ((0.97, 4.75), (1.15, 4.75), (1.15, 4.45), (1.77, 4.45))),
    Arrow("o, a", "f_q1", ((0.97, 0.45), (1.77, 0.45))),
    Arrow("f_v1", "f_v2", ((3.03, 4.45), (5.12, 4.45))),
    Arrow("f_q1", "concat", ((3.03, 0.45), (3.37, 0.45))),
    Arrow("concat", "f_q2", ((4.33, 0.45), (5.12, 0.45))),
    Arrow("o_i", "V_i", ((5.15, 3.0), (5.72, 3.0))),
    Arrow("a_i", "Q_i", ((5.15, 2.05), (5.62, 2.05))),
    Arrow("o_i", "Q_i", ((5.0, 2.75), (5.0, 2.45), (5.4, 2.45), (5.62, 2.25))),
    Arrow("V_i", "Q_i - V_i", ((6.98, 2.9), (7.47, 2.5))),
    Arrow("Q_i", "Q_i - V_i", ((7.08, 2.05), (7.47, 2.15))),
    Arrow("V_i", "V_tot", ((6.98, 3.1), (9.3, 3.1), (9.7, 4.05))),
    Arrow("w_v", "V_tot", ((8.73, 4.45), (9.47, 4.45))),
    Arrow("V_share", "V_tot", ((8.73, 5.75), (9.3, 5.75), (9.8, 4.85))),
    Arrow("V_tot", "Q_tot", ((10.83, 4.2), (12.0, 2.7))),
    Arrow("Q_i - V_i", "Q_tot", ((8.73, 2.3), (11.5, 2.3))),
    Arrow("w_q", "Q_tot", ((8.73, 0.45), (10.6, 0.45), (11.8, 1.9))),
)


def factorization(title):
    """Draw the networks and the mixing of Eqs. (2) and (3), after the paper's Figure 1, with the shapes of the code."""
    figure, axes = panels(PAGE, 3.85)
    ax = axes[0]
    ax.set(xlim=(0, 13.5), ylim=(-0.35, 6.5), aspect="equal")
    ax.axis("off")
    _area(ax, 4.35, 1.45, 4.6, 2.3, BLUE, "$V$ and $Q$ networks, shared by all agents")
    _area(ax, 1.35, 3.8, 7.6, 1.45, ORANGE, "credit for $V$")
    _area(ax, 1.35, -0.3, 7.6, 1.65, PURPLE, "credit for $Q$")
    _box(ax, 0.62, 4.85, "$o$", "[K,B,S]", width=0.7)
    _box(ax, 0.62, 0.45, "$o, a$", "[K,B,S+nA]", width=0.7)
    for y, letter, colour, fill in ((4.45, "v", ORANGE, "#FDF3DC"), (0.45, "q", PURPLE, "#F8E8F1")):
        _box(ax, 2.4, y, f"$f_{letter}^{{(1)}}$", colour=colour)
        _box(ax, 5.75, y, f"$|f_{letter}^{{(2)}}|$", colour=colour)
        _box(ax, 8.1, y, rf"$w^{letter} \geq 0$", "[K,B,n]", colour, fill=fill)
        ax.text(
            3.4 if letter == "v" else 3.2,
            y + (0.1 if letter == "v" else 0.38),
            f"$h_{letter}$",
            ha="center",
            fontsize=8,
        )
        _arrow(ax, ((6.38, y), (7.47, y)))
    _box(ax, 3.85, 0.45, "concat", "[K,B,2·64]", width=0.95)
    _box(ax, 8.1, 5.75, "$V_{share}$", "[K,B]", GREEN, fill="#E0F3EC")
    _box(ax, 4.85, 3.0, "$o_i$", width=0.6, height=0.5)
    _box(ax, 4.85, 2.05, "$a_i$", width=0.6, height=0.5)
    _box(ax, 6.35, 3.0, "$V_i(o_i)$", "", BLUE, fill="#E0EEF7")
    _box(ax, 6.35, 2.05, "$Q_i(o_i, a_i)$", "", BLUE, 1.45, fill="#E0EEF7")
    _box(ax, 8.1, 2.3, "$Q_i - V_i$", "[K,B,n]", BLUE, fill="#E0EEF7")
    _box(ax, 10.15, 4.45, "$V_{tot}(o)$", "[K,B]", width=1.35, height=0.8, fill="#EEEEEE")
    _box(ax, 12.3, 2.3, "$Q_{tot}(o, a)$", "[K,B]", width=1.6, height=0.8, fill="#EEEEEE")
    for arrow in ARROWS:
        _arrow(ax, arrow.corners)
    _arrow(ax, ((3.85, 4.45), (3.85, 0.77)), colour=RED, lw=2.2)
    why = "the coupling:\n$w^q$ reads $h_v$,\nso its gradient\nreaches $f_v^{(1)}$"
    ax.text(3.72, 2.6, why, color=RED, fontsize=8, ha="right", va="center")
    ax.text(10.95, 4.6, r"$= \sum_i w^v_i V_i + V_{share}$", va="center", fontsize=9)
    ax.text(12.22, 0.6, r"$= V_{tot} + \sum_i w^q_i (Q_i - V_i)$", ha="center", va="center", fontsize=9)
    ax.set_title(title, fontsize=9)
    return figure


def _area(ax, x, y, width, height, colour, label):
    """Shade an area whose lower left corner is (x, y), with a label in its upper left corner."""
    style = {"boxstyle": "round,pad=0,rounding_size=0.15", "fc": colour, "alpha": 0.1, "lw": 0}
    ax.add_patch(FancyBboxPatch((x, y), width, height, **style))
    ax.text(x + 0.1, y + height - 0.1, label, fontsize=8, color=colour, va="top")


def _box(ax, x, y, text, shape="", colour=GREY, width=1.25, height=0.62, fill="white"):
    """Draw a box around (x, y) with a text in it, and a tensor's shape below it."""
    corner = (x - width / 2, y - height / 2)
    style = {"boxstyle": "round,pad=0,rounding_size=0.1", "fc": fill, "ec": colour, "lw": 1.3}
    ax.add_patch(FancyBboxPatch(corner, width, height, **style))
    ax.text(x, y, text, ha="center", va="center", fontsize=9)
    ax.text(x, y - height / 2 - 0.06, shape, ha="center", va="top", fontsize=7, color=GREY)


def _arrow(ax, corners, colour="#333333", lw=1.1):
    """Draw lines from corner to corner, the last one with a head."""
    for a, b in zip(corners[:-2], corners[1:-1], strict=True):
        ax.plot(*np.array([a, b]).T, color=colour, lw=lw, solid_capstyle="round")
    style = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0, "color": colour, "lw": lw}
    ax.add_patch(FancyArrowPatch(corners[-2], corners[-1], **style))


def igm_games(game, games, title):
    """Draw Eq. (1) on one game and over many.

    Args:
        game: {label: (Q_tot [A,A] of the joint actions, the tuple of greedy local actions)}.
        games: DataFrame by tau with the columns "depends on a" and "free of a" (% of games that break Eq. 1) and
            "excess" (mean of max Q_tot - V_tot).
        title: of the figure.
    """
    figure, axes = panels(PAGE, 2.6, 4)
    low = min(float(table.min()) for table, _ in game.values())
    high = max(float(table.max()) for table, _ in game.values())
    for ax, (name, (table, greedy)) in zip(axes, game.items(), strict=False):
        ax.imshow(table, cmap="cividis", vmin=low, vmax=high)
        best = np.unravel_index(int(table.argmax()), table.shape)
        for (i, j), x in np.ndenumerate(table.numpy()):
            shade = "white" if x < (low + high) / 2 else "black"
            ax.text(j, i, f"{x:.2f}", ha="center", va="center", fontsize=7, color=shade)
        for (i, j), half, ec, label in ((greedy, 0.46, SKY, "greedy $Q_i$"), (best, 0.38, RED, "best $Q_{tot}$")):
            frame = {"fill": False, "lw": 2.2, "ec": ec, "label": label}
            ax.add_patch(Rectangle((j - half, i - half), 2 * half, 2 * half, **frame))
        ax.set(
            title=name,
            xlabel="$a_2$",
            ylabel="$a_1$" if ax is axes[0] else "",
            xticks=range(len(table)),
            yticks=range(len(table)),
        )
        ax.grid(False)
    spots = range(len(games))
    for column, colour, style in (("depends on a", RED, "o-"), ("free of a", BLUE, "s--")):
        axes[2].plot(spots, games[column], style, color=colour, ms=4, label=f"$w^q$ {column}")
    axes[2].set(ylabel="games that break Eq. 1 (%)", title="greedy tuple not best")
    axes[3].plot(spots, games["excess"], "o-", color=GREEN, ms=4)
    axes[3].set(ylabel=r"mean of $\max_a Q_{tot} - V_{tot}$", title="Property 1, first half")
    for ax in axes[2:]:
        ax.set(xlabel=r"expectile $\tau$ (max: Eq. 2)", ylim=(-0.03 * ax.get_ylim()[1], None))
        ax.set_xticks(spots, games.index, rotation=90, fontsize=8)
    for ax in axes:
        ax.title.set_fontsize(8)
        ax.xaxis.label.set_fontsize(8)
        ax.yaxis.label.set_fontsize(8)
    titled_legend(figure, axes, title)
    return figure


def expectiles(losses, sample, points, title):
    """Draw Eq. (5): the loss over u for several tau, and where the expectiles of a sample lie.

    Args:
        losses: {tau: (u, loss)}.
        sample: [N], in units of return.
        points: {tau: expectile of the sample}.
        title: of the figure.
    """
    figure, axes = panels(PAGE, 3.2, 2)
    for colour, (tau, (u, loss)) in zip(LINES, losses.items(), strict=False):
        label = rf"$\tau = {tau}$: {points[tau]:.2f}"
        axes[0].plot(u, loss, color=colour, label=label)
        axes[1].axvline(points[tau], color=colour, lw=1.6, label=label)
    axes[0].set(xlabel=r"$u = \bar{Q}_i - V_i$ (units of return)", ylabel=r"$|\tau - 1(u < 0)|\, u^2$")
    axes[1].hist(sample, 30, color="#BBBBBB")
    axes[1].axvline(sample.mean(), color="black", ls=":", label=f"mean: {sample.mean():.2f}")
    axes[1].axvline(sample.max(), color="black", ls="--", label=f"max: {sample.max():.2f}")
    axes[1].set(xlabel=r"$\bar{Q}_i$ of the data's actions (units of return)", ylabel="actions")
    titled_legend(figure, axes, f"{title}, beside their $\\tau$", ncols=3)
    return figure


def regression(weights, policies, labels, title):
    """Draw Eq. (8): the weight over the advantage for several beta, and the policy that minimises the loss, over beta.

    Args:
        weights: {beta: (advantage, weight)}.
        policies: DataFrame, a row per beta, a column per action.
        labels: of the actions.
        title: of the figure.
    """
    figure, axes = panels(PAGE, 3.4, 2)
    for colour, (beta, (adv, weight)) in zip(LINES, weights.items(), strict=False):
        axes[0].plot(adv, weight, color=colour, label=rf"$\beta = {beta:g}$")
    axes[0].set(xlabel="advantage $A = Q_i - V_i$ (units of return)", ylabel=r"weight $\exp(\beta A)$, at most 100")
    axes[0].set_yscale("log")
    for colour, column, label in zip(LINES, policies, labels, strict=False):
        axes[1].plot(policies.index, policies[column], color=colour, label=label)
        axes[1].plot(0, policies[column].iloc[0], "o", color=colour, ms=4, clip_on=False)
    axes[1].set(xlabel=r"inverse temperature $\beta$ (0 is cloning)", ylabel=r"$\pi_i(a_i | o_i)$", ylim=(-0.02, 1.02))
    beside = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "fontsize": 8, "frameon": False}
    axes[0].legend(ncols=2, **beside)
    axes[1].legend(ncols=2, **beside)
    figure.suptitle(title, fontsize=9)
    return figure


def theorem(local, marks, trained, levels, title):
    """Draw Theorem 1: V_i over tau with Q_i fixed, and V_tot of trained networks over tau. All in units of return.

    Args:
        local: Series by tau.
        marks: {label: value} of horizontal lines beside `local`.
        trained: DataFrame by tau, a column per seed.
        levels: {label: value} of horizontal lines beside `trained`.
        title: of the figure.
    """
    figure, axes = panels(PAGE, 3.6, 2)
    x = 1 - trained.index.to_numpy()
    axes[0].plot(1 - local.index.to_numpy(), local, color=BLUE, label=r"$V_i^\tau$, exact")
    axes[1].plot(x, trained.mean(axis=1), color=BLUE, label=r"$V_{tot}^\tau$, mean of seeds (dots)")
    axes[1].plot(x, trained, "o", color=BLUE, ms=3.5, alpha=0.6)
    for ax, lines, ticks in ((axes[0], marks, (0.5, 0.9, 0.99, 0.999)), (axes[1], levels, trained.index)):
        for (label, value), style, colour in zip(lines.items(), (":", "--", "-."), (GREY, GREEN, RED), strict=False):
            ax.axhline(value, ls=style, color=colour, lw=1.2, label=label)
        ax.set(xscale="log", xlabel=r"expectile $\tau$, on a log scale of $1 - \tau$", ylabel="value (units of return)")
        ax.set_xticks([1 - t for t in ticks], [f"{t:g}" for t in ticks])
        ax.minorticks_off()
        ax.invert_xaxis()
        ax.set_ylim(ax.get_ylim()[0], ax.get_ylim()[1] + 0.05 * np.ptp(ax.get_ylim()))
        ax.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.08), frameon=False)
    axes[0].set_title("Eq. 9: one observation, $Q_i$ fixed", fontsize=9)
    axes[1].set_title("the whole system: OMAC trained on toy:line", fontsize=9)
    figure.suptitle(title, fontsize=9)
    return figure
