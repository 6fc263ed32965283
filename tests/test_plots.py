import numpy as np
import pytest
from matplotlib.figure import Figure

from noisescale import InputError, equivalents
from noisescale.plots import draw_curves, draw_distance, draw_schedules, new_figure, save
from noisescale.recipe import step_schedule


def arm(name, role="arm", values=((1.0, 0.5, 0.3), (1.0, 0.7, 0.1))):
    return {
        "name": name,
        "role": role,
        "seeds": [
            {
                "curves": {"epoch": [0, 1, 2], "update": [0, 10, 20], "train_loss": list(v)},
                "distances": {"update": [1, 10, 20], "distance": list(v)},
            }
            for v in values
        ],
    }


def test_curves_are_mean_and_one_standard_deviation():
    ax = Figure().subplots()
    assert draw_curves(ax, [arm("baseline")], "train_loss", "update") is ax
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_xdata(), [10, 20])
    np.testing.assert_allclose(line.get_ydata(), [0.6, 0.2])
    band = ax.collections[0].get_paths()[0].vertices
    # Seeds .5, .7: sd .1414; the lower edge is not drawn below the lowest seed.
    assert band[:, 1].max() == pytest.approx(0.6 + np.sqrt(0.02))
    assert band[:, 1].min() == pytest.approx(0.1)


def test_a_diverged_seed_cuts_the_curve():
    ax = Figure().subplots()
    draw_curves(ax, [arm("a", values=((1.0, 0.5, 0.3), (1.0, None)))], "train_loss", "epoch")
    assert len(ax.lines[0].get_xdata()) == 1


def test_distance_is_on_a_logarithmic_clock():
    ax = Figure().subplots()
    draw_distance(ax, [arm("baseline"), arm("again", "A/A control")])
    assert ax.get_xscale() == "log"
    assert [line.get_label() for line in ax.lines] == ["baseline", "again (A/A control)"]


def test_schedules_show_the_plan():
    schedule = step_schedule(
        epochs=9, batch_size=8, learning_rate=0.1, milestones=(3, 6), decay_factor=5
    )
    plans = {"original": schedule.plan(900)}
    plans |= {e.name: e.plan for e in equivalents(schedule, 900)}
    figure = new_figure(2, 2, title="t")
    axes = draw_schedules(figure.axes, plans)
    lines = {name: [ax.lines[n] for ax in axes] for n, name in enumerate(plans)}
    batch = lines["grow-batch"][1]
    np.testing.assert_allclose(batch.get_ydata(), [8, 8, 40, 40, 200, 200])
    np.testing.assert_allclose(batch.get_xdata(), [0, 3, 3, 6, 6, 9])
    noise = lines["original"][2].get_ydata()
    for name in ("grow-batch", "hybrid", "learning-rate", "momentum"):
        np.testing.assert_allclose(lines[name][2].get_ydata(), noise)
        assert lines[name][3].get_ydata()[-1] == plans[name].updates
    # The adapted regime lasts 45 epochs: cut off, and its label says so.
    assert axes[0].get_xlim()[1] < 10
    labels = [line.get_label() for line in axes[0].lines]
    assert "regime-adaptation (to epoch 45)" in labels


def test_save(tmp_path):
    figure = new_figure(1, 1, title="t")
    save(figure, tmp_path / "a.svg")
    first = (tmp_path / "a.svg").read_bytes()
    save(figure, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_bytes() == first
    for bad in ("a.jpeg", "a"):
        with pytest.raises(InputError, match=r"\.png, \.pdf or \.svg"):
            save(figure, tmp_path / bad)
    with pytest.raises(InputError, match="no folder"):
        save(figure, tmp_path / "none" / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.svg"]


def test_a_notebook_shows_figures_without_pyplot():
    assert new_figure(1, 1, title="")._repr_png_().startswith(b"\x89PNG")
