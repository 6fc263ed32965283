"""Growth laws over the distance curves to which they were fitted, and what they leave."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from noisescale.analysis.laws import Comparison, Fit
from noisescale.plots.figure import STYLES, add_legend, colour, new_figure, plain_ticks

# Residuals beyond so many times those of the best law are not shown.
_RESIDUALS = 6.0
# Colour of controls.
_CONTROL = 7


def draw_laws(
    axes: Axes | Sequence[Axes] | None,
    x: ArrayLike,
    distance: ArrayLike,
    result: Comparison | Fit,
    label: str = "distance from initialisation ‖w − w₀‖",
) -> Sequence[Axes]:
    """Distance curves with the laws fitted to them; the decade held out is shaded.

    Args:
        axes: one for the curves, or two, the second for ln D less each law; None makes two.
        x: (n,) what the clock counts.
        distance: (n,) or (seeds, n).
        result: of one law, or of all.
        label: what the distance is.
    """
    if axes is None:
        return laws_figure(x, distance, result).axes
    panels = [axes] if isinstance(axes, Axes) else list(axes)
    fits = {result.law: result} if isinstance(result, Fit) else dict(result.fits)
    first = next(iter(fits.values()))
    t = np.asarray(x, np.float64)
    logs = np.log(np.atleast_2d(np.asarray(distance, np.float64)))
    inside = (t >= first.window[0]) & (t <= first.window[1])
    mean, seeds = logs.mean(axis=0), len(logs)
    best = min(fits, key=lambda law: fits[law].aicc)

    ax = panels[0]
    if seeds > 1:
        ax.fill_between(
            t, np.exp(logs.min(axis=0)), np.exp(logs.max(axis=0)),
            color="black", alpha=0.15, linewidth=0, label="lowest to highest seed",
        )  # fmt: skip
    name = f"mean of {seeds} seeds, n = {first.n}" if seeds > 1 else f"one curve, n = {first.n}"
    dots: dict[str, Any] = {"linestyle": "", "marker": "o", "color": "black", "markersize": 3}
    ax.plot(t[inside], np.exp(mean[inside]), label=name, zorder=2, **dots)
    if not inside.all():
        outside = np.where(inside, np.nan, np.exp(mean))
        ax.plot(t, outside, label="outside the window", markerfacecolor="white", **dots)
    fine = np.geomspace(*first.window, 200)
    for number, (law, fit) in enumerate(fits.items()):
        behind = fit.aicc - fits[best].aicc
        ax.plot(
            fine, fit.predict(fine), color=colour(number), linestyle=STYLES[number % len(STYLES)],
            linewidth=2.4 if law == _named(result) else 1.2, zorder=3,
            label=law if law == best else f"{law} (AICc + {behind:.3g})",
        )  # fmt: skip
    for name, fit in (result.controls if isinstance(result, Comparison) else {}).items():
        behind = fit.aicc - fits[best].aicc
        ax.plot(
            fine, fit.predict(fine), color=colour(_CONTROL), linestyle=":", linewidth=1.0,
            label=f"control: {name} (AICc {behind:+.3g})",
        )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel=first.units, ylabel=label)
    plain_ticks(ax, lambda value, _: f"{value:g}")
    if len(panels) > 1:
        _draw_residuals(panels[1], t[inside], logs[:, inside], fits, best, _named(result))
        panels[1].set(xlabel=first.units, xlim=ax.get_xlim())
    for panel in panels:
        if isinstance(result, Comparison) and result.heldout_from is not None:
            panel.axvspan(
                result.heldout_from, first.window[1], color=colour(5), alpha=0.12,
                linewidth=0, label="last decade, also predicted", zorder=0,
            )  # fmt: skip
        panel.grid(alpha=0.25)
    if isinstance(result, Comparison):
        ax.set_title(f"verdict: {result.verdict}", fontsize=10)
    return panels


def _named(result: Comparison | Fit) -> str:
    return result.law if isinstance(result, Fit) else result.verdict


def _draw_residuals(
    ax: Axes, x: np.ndarray, logs: np.ndarray, fits: Mapping[str, Fit], best: str, named: str
) -> None:
    mean = logs.mean(axis=0)
    largest = 0.0
    for number, (law, fit) in enumerate(fits.items()):
        left = 100 * (mean - np.log(fit.predict(x)))
        ax.plot(
            x, left, color=colour(number), linestyle=STYLES[number % len(STYLES)],
            linewidth=2.0 if law == named else 1.0,
        )  # fmt: skip
        if law == best:
            largest = float(np.abs(left).max())
    if len(logs) > 1:
        error = 100 * logs.std(axis=0, ddof=1) / np.sqrt(len(logs))
        ax.fill_between(x, -error, error, color="black", alpha=0.15, linewidth=0)
        largest = max(largest, float(error.max()))
    ax.axhline(0, color="black", linewidth=0.8)
    low, high = ax.get_ylim()
    reach = max(_RESIDUALS * largest, 1e-6)
    grey = ", grey: ± standard error" if len(logs) > 1 else ""
    ax.set(xscale="log", ylabel=f"ln D less the law (%){grey}")
    ax.set_ylim(max(low, -reach), min(high, reach))


def laws_figure(
    x: ArrayLike, distance: ArrayLike, result: Comparison | Fit, title: str = "growth of D"
) -> Figure:
    """Curves above, residuals below."""
    figure = new_figure(2, 1, title=title)
    figure.set_size_inches(6.4, 7.6)
    draw_laws(figure.axes, x, distance, result)
    add_legend(figure, columns=2)
    return figure
