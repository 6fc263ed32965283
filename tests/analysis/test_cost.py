import pytest

from noisescale import InputError, Phase, Schedule, equivalents
from noisescale.analysis.cost import cost_of, costs, fastest, interpolated

N = 10000


def plan(*phases):
    return Schedule([Phase(updates=u, learning_rate=0.1, batch_size=b) for u, b in phases]).plan()


def test_wall_clock_by_hand():
    table = {100: 1000.0, 400: 2000.0}
    # 50 × 100/1000 + 30 × 400/2000 s.
    assert cost_of("a", plan((50, 100), (30, 400)), throughput=table).seconds == 11.0
    # Half-way on a logarithmic scale: √(1000 × 2000) at 200.
    assert interpolated(table, 200) == pytest.approx(2**0.5 * 1000)
    # Below, an update takes as long as at 100; above, examples do.
    below = cost_of("b", plan((50, 25)), throughput=table)
    assert below.seconds == pytest.approx(50 * 0.1) and below.extrapolated
    assert cost_of("c", plan((10, 800)), throughput=table).seconds == pytest.approx(4.0)
    assert not cost_of("d", plan((10, 400)), throughput=table).extrapolated
    # Split: micro-batch × devices are processed at once.
    split = cost_of("e", plan((10, 800)), throughput=table, split=[(50, 8, 2)])
    assert split.seconds == pytest.approx(10 * 800 / 1000)


def test_steps_and_examples_over_the_least():
    one = cost_of("a", plan((70, 300)), critical_batch_size=600)
    assert one.steps_ratio == pytest.approx(1 + 600 / 300)
    assert one.examples_ratio == pytest.approx(1 + 300 / 600)
    # McCandlish et al. 2018: (S/S_min − 1)(E/E_min − 1) = 1 at one batch size …
    assert (one.steps_ratio - 1) * (one.examples_ratio - 1) == pytest.approx(1)
    # … and two sizes: 20/3 + 40/(1 + 600/1200) of noiseless progress.
    two = cost_of("b", plan((20, 300), (40, 1200)), critical_batch_size=600)
    gained = 20 / 3 + 40 / 1.5
    assert two.steps_ratio == pytest.approx(60 / gained)
    assert two.examples_ratio == pytest.approx((20 * 300 + 40 * 1200) / (600 * gained))


def test_the_fastest_within_the_risk():
    schedule = Schedule(
        [Phase(epochs=100, learning_rate=r, batch_size=100, momentum=0.9) for r in (0.1, 0.02)]
    )
    found = equivalents(schedule, N, target_batch_size=500)
    listed = costs(found, throughput={100: 1000.0, 500: 4000.0})
    by_name = {c.name: c for c in listed}
    assert by_name["learning-rate"].seconds == pytest.approx(2 * 100 * N / 4000)
    best = fastest(listed, "some")
    assert best.seconds == min(c.seconds for c in listed)
    calm = fastest(listed, "none")
    assert calm is None or calm.risk == "none"
    assert fastest(costs(found), "high") is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "throughput"),
        ([1, 2], "throughput"),
        ({0: 5.0}, "batch size of throughput=0"),
        ({10: 0.0}, "throughput at 10=0.0"),
        ({10: float("nan")}, "throughput at 10=nan"),
    ],
)
def test_refuses(table, message):
    with pytest.raises(InputError, match=message):
        cost_of("a", plan((1, 10)), throughput=table)
    with pytest.raises(InputError, match="did you mean 'some'"):
        fastest([], "somme")
    with pytest.raises(InputError, match="critical_batch_size=0"):
        cost_of("a", plan((1, 10)), critical_batch_size=0)
