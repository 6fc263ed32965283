"""Figures of `noisescale fit`: growth laws of several groups, their noise scales over time."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from noisescale.analysis.growth import Growth
from noisescale.plots.figure import add_legend, new_figure
from noisescale.plots.gradient_noise import draw_noise_scale_over_time
from noisescale.plots.laws import draw_laws

# Panels side by side.
_ACROSS = 4


def growth_figure(groups: Sequence[Growth]) -> Figure:
    """A column per group: curve with seeds and laws above, residuals below."""
    shown = groups[:_ACROSS]
    left = "" if len(groups) == len(shown) else f", the first {len(shown)} of {len(groups)} groups"
    figure = new_figure(2, len(shown), title=f"growth laws of {groups[0].quantity}{left}")
    figure.set_size_inches(max(6.4, 4.2 * len(shown)), 7.8)
    for column, group in enumerate(shown):
        panels = [figure.axes[column], figure.axes[len(shown) + column]]
        assert group.laws is not None
        draw_laws(panels, group.x, group.distance, group.laws, label=group.quantity)
        verdict = panels[0].get_title()
        panels[0].set_title(f"{group.label}\n{verdict}", fontsize=10)
        if len(shown) > 1:
            # One legend for all: the numbers in it would be those of the first group.
            for artist in panels[0].lines:
                artist.set_label(str(artist.get_label()).partition(" (AICc")[0])
    add_legend(figure, columns=min(2 * len(shown), 4))
    return figure


def noise_scale_figure(groups: Sequence[Growth]) -> Figure:
    """B_simple over the updates, a panel per group that measured it."""
    measured = [(g.label, g.noise_scale) for g in groups if g.noise_scale is not None]
    shown = measured[:_ACROSS]
    figure = new_figure(1, len(shown), title="gradient noise scale along the runs")
    figure.set_size_inches(max(6.4, 4.2 * len(shown)), 4.6)
    for ax, (label, scale) in zip(figure.axes, shown, strict=True):
        draw_noise_scale_over_time(ax, scale)
        ax.set_title(label, fontsize=10)
    return figure
