"""Results in a notebook: a table, strict JSON, a picture."""

import json
from html.parser import HTMLParser
from math import inf, nan

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import noisescale as ns
from noisescale.analysis.gradient_noise import linear_rule_limit
from noisescale.analysis.html import course, plus_minus, shown_number, table
from noisescale.analysis.run_groups.runs import MeasuredRun
from noisescale.simulation import displacements

NAME = "<b>&\"a'</b>"


class Reader(HTMLParser):
    """Tables as lists of rows; fails on a tag that does not close."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.rows, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    @property
    def by_name(self):
        return {row[0]: row[1:] for row in self.rows}


def schedule(**more):
    phase = {"learning_rate": 0.1, "batch_size": 128, "momentum": 0.9, **more}
    drops = [ns.Phase(**{**phase, "learning_rate": 0.1 / 5**k, "epochs": 30}) for k in range(2)]
    return ns.Schedule(drops)


def equivalent(size=50_000):
    (found,) = ns.equivalents(schedule(), size, routes=["sqrt"], target_batch_size=512)
    return found


def laws(law="all"):
    x, rng = np.geomspace(10, 1e4, 30), np.random.default_rng(0)
    return ns.fit_distance(x, x**0.4 * np.exp(0.01 * rng.standard_normal((3, 30))), law)


def noise_scale(n=200):
    rng = np.random.default_rng(1)
    small, big = (1 + 200 / B * rng.chisquare(20, n) / 20 for B in (8, 64))
    return ns.gradient_noise_scale(small, big, 8, 64)


def over_time():
    rng = np.random.default_rng(1)
    small, big = (1 + 200 / B * rng.chisquare(20, (2, 60)) / 20 for B in (8, 64))
    return ns.noise_scale_over_time([np.arange(60)] * 2, small, big, 8, 64, windows=3)


def walk():
    k = np.unique(np.geomspace(1, 1e4, 30).round())
    common = {"learning_rate": 0.1, "train_size": 4096}
    return ns.judge_walk(
        ns.Trajectory(update=k, distance=np.sqrt(k / batch), batch_size=batch, seed=s, **common)
        for batch in (16, 64, 4096)
        for s in range(3)
    )


def landscape():
    slopes, bends = np.random.default_rng(2).standard_normal((2, 8, 1))
    radii = 0.2 * np.arange(1, 21)
    losses = 2.3 + 0.01 * slopes * radii + 1e-3 * (1 + bends) * radii**2
    return ns.judge_landscape(radii, losses, start_loss=2.3)


def groups():
    rng, epochs = np.random.default_rng(3), np.arange(9.0)
    runs = {
        name: [
            MeasuredRun(f"{name}{s}", {"epoch": epochs, "loss": 1 + 0.01 * rng.normal(size=9)})
            for s in range(4)
        ]
        for name in ("first", NAME)
    }
    return ns.compare_groups(runs, metrics=["loss"], margin=0.05, points=4)


def record():
    columns = ("train_loss", "evaluation_loss", "train_error", "evaluation_error")
    rows = [
        {"seed": 0, "update": k, "epoch": k / 10, "distance": k**0.5, "update_norm": 0.1}
        | dict.fromkeys(columns, 1.0 / (1 + k))
        | {NAME: None}
        for k in range(5)
    ]
    return ns.Record({"recipe": NAME}, "finished", tuple(rows))


def walkers():
    V = np.cumsum(np.random.default_rng(4).standard_normal(200))
    return displacements(V, log_t=[1.0, 3.0, 60.0], clock="exponential")


RESULTS = {
    "plan": lambda: schedule().plan(50_000),
    "plan without size": lambda: ns.Schedule(
        [ns.Phase(updates=10, learning_rate=0.1, batch_size=8)]
    ).plan(),
    "equivalent": equivalent,
    "equivalent without size": lambda: equivalent(None),
    "same run": lambda: ns.compare_runs(schedule(), schedule(batch_size=256), 50_000),
    "fit": lambda: laws("power"),
    "laws": laws,
    "noise scale": noise_scale,
    "noise scale, one": lambda: noise_scale(1),
    "noise scale, lost": lambda: ns.gradient_noise_scale(
        1 + np.tile([30.0, 25.0], 20), np.tile([1.0, 8.0], 20), 8, 64
    ),
    "over time": over_time,
    "steps": lambda: ns.steps_and_examples(noise_scale(), [32, 512]),
    "steps of one": lambda: ns.steps_and_examples(200.0, 512),
    "critical": lambda: ns.critical_batch_size([32, 128, 512, 2048], [10100, 3200, 1460, 1030]),
    "critical, one": lambda: ns.critical_batch_size([8.0], [100.0]),
    "gain": lambda: ns.adascale_gain(noise_scale(), base_batch=64, scale=8),
    "linear rule": lambda: linear_rule_limit(3.0),
    "linear rule fails": lambda: linear_rule_limit(3.0, momentum=0.9),
    "walk": walk,
    "landscape": landscape,
    "roughness": lambda: ns.estimate_alpha(
        np.cumsum(np.random.default_rng(5).standard_normal(256))
    ),
    "groups": groups,
    "record": record,
    "displacements": walkers,
}  # fmt: skip
# No data to draw, no picture that says more, no epochs, no updates.
NO_PLOT = {"roughness", "displacements", "same run", "plan without size", "equivalent without size"}
OWN_FIGURE = {"record"}


@pytest.fixture(scope="module", params=RESULTS)
def result(request):
    return request.param, RESULTS[request.param]()


def test_tables_are_well_formed(result):
    page = Reader(result[1]._repr_html_())
    lengths = {len(row) for row in page.rows}
    assert len(page.rows) > 1 and 1 not in lengths
    assert "nan" not in page.text and "inf" not in page.text.replace("infin", "")


def test_documents_are_strict_json(result):
    document = result[1].to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document


def test_plots_draw_where_they_are_told(result):
    name, found = result
    if name in NO_PLOT:
        if hasattr(found, "plot"):
            with pytest.raises(ns.InputError, match="train_size"):
                found.plot()
        return
    drawn = found.plot()
    figure = drawn if isinstance(drawn, Figure) else np.ravel(drawn)[0].figure
    figure.draw_without_rendering()
    assert all(isinstance(ax, Axes) and ax.has_data() for ax in figure.axes if name != "walk")
    if name not in OWN_FIGURE:
        ax = Figure(layout="constrained").subplots()
        (again,) = np.ravel(found.plot(ax))
        assert again is ax and ax.has_data()


def test_numbers_of_the_tables():
    page = Reader(noise_scale()._repr_html_())
    value, interval = page.by_name["B_simple = tr Σ/|G|²"]
    low, high = map(float, interval.strip("[]").split(", "))
    assert low < float(value.split(" ± ")[0]) < high and low < 200 < high
    # g = 0.1 · 50,000/(128 · 0.1); √(512/128) = 2 times the rate at 4 times the batch halves it.
    page = Reader(equivalent()._repr_html_())
    assert page.by_name["noise scale"] == ["390.6", "195.3", "50 %", "no"]
    assert page.by_name["diffusion per update"][-1] == "yes"
    assert page.by_name["1"] == ["30", "2,930", "0.2", "512", "0.9", "195.3"]
    page = Reader(laws("power")._repr_html_())
    value, error = map(float, page.by_name["exponent"][0].split(" ± "))
    assert abs(value - 0.4) < 4 * error < 0.02
    page = Reader(ns.adascale_gain(200.0, base_batch=100, scale=4)._repr_html_())
    assert page.rows[1][0] == "2"  # (1 + 2)/(1 + 2/4)


def test_long_plans_leave_out_their_middle():
    phases = [ns.Phase(epochs=1, learning_rate=0.1, batch_size=10 + k) for k in range(40)]
    rows = Reader(ns.Schedule(phases).plan(1000)._repr_html_()).rows[1:]
    assert [row[0] for row in rows] == [*"123456", "… 29 more", "36", "37", "38", "39", "40"]


def test_warm_up_shows_its_top():
    rate = ns.Shape(shape="cosine", start=0.2, warmup=ns.Warmup(epochs=1))
    plan = ns.Schedule([ns.Phase(epochs=9, learning_rate=rate, batch_size=10)]).plan(1000)
    (row,) = Reader(plan._repr_html_()).rows[1:]
    assert row[3] == "0 → 0.2 → 0" and row[6] == "0 → 20 → 0"


def test_equivalents_stay_a_list():
    assert type(ns.equivalents(schedule(), 50_000)) is list


def test_groups_leave_their_curves_out_of_documents():
    found = groups()
    (pair,) = found.to_dict()["pairs"]
    assert found.pairs[0].curves is not None and "curves" not in pair
    assert pair["quantities"][0]["effect"] == found.pairs[0].quantities[0].effect


def test_special_characters_are_escaped():
    for text in (groups()._repr_html_(), record()._repr_html_()):
        assert NAME not in text and NAME in Reader(text).text
    page = Reader(table(NAME, [NAME], [[NAME]], [NAME]))
    assert page.text.count(NAME) == 4 and page.rows == [[NAME], [NAME]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"), (17578, "17,578"), (17578.0, "17,578"), (24861.7, "24,860"),
        (10**18 + 1, "1,000,000,000,000,000,001"), (3.14159, "3.142"), (1.5e-7, "1.5e-07"),
        (1.23456e10, "1.235e+10"), (-inf, "−∞"), (nan, "–"), (None, "–"),
        (np.float64(-2.5), "-2.5"), (np.int64(1000), "1,000"),
    ],
)  # fmt: skip
def test_numbers(value, text):
    assert shown_number(value) == text


def test_errors_and_courses():
    assert plus_minus(200.123, 3.456) == "200.1 ± 3.5"
    assert plus_minus(2.0, None) == plus_minus(2.0, nan) == "2"
    assert plus_minus(2.0, inf) == "2 ± ∞"
    assert course(0.1, 0.1) == "0.1" and course(0.1, 0.0, 0.1) == "0.1 → 0"
    page = Reader(table("t", ["a"] * 4, [[(1.0, inf), True, None, 2]]))
    assert page.rows[1] == ["[1, ∞]", "yes", "–", "2"]
