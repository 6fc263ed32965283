"""Is the reason found that was planted?"""

from collections import Counter

import pytest

from tests.analysis.walk.confusion import PLANTED, count

# Seconds of a draw: one of them in the quick run.
SLOW = ("landscape", "scale-invariant with")
QUICK = {name: 1 if name.startswith(SLOW) else 6 for name in PLANTED}


@pytest.mark.parametrize("name", PLANTED)
def test_few_draws(name):
    found = count(name, QUICK[name], first=1000)
    # Of a hundred draws 3 may be wrong: of 6 two or more are with a probability of 1 %.
    assert sum(n for v, n in found.items() if v not in PLANTED[name].right) <= QUICK[name] // 6


@pytest.mark.long
@pytest.mark.parametrize("name", PLANTED)
def test_hundred_draws(name):
    planted = PLANTED[name]
    found = count(name, 100)
    print(f"{name:38s}", dict(found))
    wrong = Counter({v: n for v, n in found.items() if v not in planted.right})
    assert wrong.total() <= 10, found
    decided = sum(found[v] for v in planted.right - {"undecided"})
    assert decided >= 100 * planted.power, found
