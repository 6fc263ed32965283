import numpy as np
import pytest
from matplotlib.figure import Figure

from noisescale import InputError, equivalents
from noisescale.plots import draw_curves, draw_distance, draw_schedules, new_figure, save
from noisescale.plots.sweeps import draw_errors, draw_ladder, draw_points
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


def test_errors_against_batch_sizes():
    ax = Figure().subplots()
    conditions = {
        "none": ([32, 128], [[0.1, 0.3], [0.2, 0.3]]),
        "strong": ([32, 128], [[0.2, 0.6], [0.2, 0.4]]),
    }
    draw_errors(ax, conditions, xlabel="batch size", ylabel="error (%)")
    assert ax.get_xscale() == "log"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["32", "128"]
    none, strong = ax.containers
    np.testing.assert_allclose(list(none.lines[0].get_ydata()), [15, 30])
    np.testing.assert_allclose(list(strong.lines[0].get_ydata()), [20, 50])
    # Bars of one standard deviation: 7.07 around 15 %.
    (bars,) = none.lines[2]
    assert bars.get_segments()[0][:, 1] == pytest.approx([15 - 50**0.5, 15 + 50**0.5])


def test_a_ladder_leaves_out_what_was_not_run():
    ax = Figure().subplots()
    draw_ladder(ax, ["SB", "LB", "+RA"], {"a": [0.02, 0.04, None], "b": [[0.1, 0.3], 0.3, 0.2]})
    first, second = ax.containers
    np.testing.assert_allclose(list(first.lines[0].get_ydata()), [1, 2])
    np.testing.assert_allclose(list(second.lines[0].get_ydata()), [1, 1.5, 1])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["SB", "LB", "+RA"]


def test_points_and_their_means():
    ax = Figure().subplots()
    draw_points(ax, {"a": ([1, 3], [5, 7])}, xlabel="distance", ylabel="error (%)")
    points, mean = ax.collections
    np.testing.assert_allclose(points.get_offsets(), [[1, 5], [3, 7]])
    np.testing.assert_allclose(mean.get_offsets(), [[2, 6]])


def test_colours_that_come_back_have_another_line():
    ax = Figure().subplots()
    draw_curves(ax, [arm(f"arm-{k}") for k in range(24)], "train_loss", "epoch")
    looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in ax.lines}
    assert len(looks) == 24


def test_seeds_that_end_at_their_own_time_are_drawn_where_all_are():
    ax = Figure().subplots()
    made = arm("a")
    made["seeds"][1]["curves"]["epoch"] = [0, 1, 1.7]
    draw_curves(ax, [made], "train_loss", "epoch")
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [1])
