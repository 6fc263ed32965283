"""The PyTorch file executed with PyTorch itself (make test-pytorch) and without it."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from noisescale import Phase, Schedule
from noisescale.formats import exported
from tests.formats.test_formats import CASES, SHAPES, N, export, heavy_ball, joined, module_of

MIXED = Schedule(
    [
        Phase(epochs=1.3, learning_rate=SHAPES["linear"] | {"warmup": None}, batch_size=70),
        Phase(updates=20, learning_rate=0.1, batch_size=130),
        Phase(epochs=2.05, learning_rate=0.05, batch_size=300),
    ]
)


class Base:
    """Stands where PyTorch's base classes stand: the plan needs none of their doing."""


@pytest.fixture
def stand_in(monkeypatch):
    """A module named torch that can permute, and nothing else."""
    fake = ModuleType("torch")
    fake.optim = SimpleNamespace(lr_scheduler=SimpleNamespace(LRScheduler=Base))
    fake.utils = SimpleNamespace(data=SimpleNamespace(Sampler=Base))

    class Generator:
        def manual_seed(self, seed):
            self.seed = seed
            return self

    fake.Generator = Generator
    fake.randperm = lambda n, generator: np.random.default_rng(generator.seed).permutation(n)
    monkeypatch.setitem(sys.modules, "torch", fake)


@pytest.mark.parametrize("partial", ["carry", "drop", "keep", "wrap"])
@pytest.mark.parametrize("name", [*CASES, "mixed"])
def test_rates_and_batches_at_every_update(name, partial, stand_in, tmp_path):
    check_plan(CASES.get(name, MIXED), name, partial, tmp_path)


def check_plan(schedule, name, partial, path):
    what = export(schedule, partial)
    module = module_of(exported(what, "pytorch"), path, f"made_{name.replace('-', '_')}")
    rates = [module.learning_rate(k) for k in range(what.plan.updates)]
    np.testing.assert_allclose(rates, what.plan.learning_rates(), rtol=1e-9, atol=1e-18)
    sizes = what.plan.batch_sizes().tolist()
    assert [module.batch_size(k) for k in range(what.plan.updates)] == sizes
    batches = list(module.BatchPlan(N, seed=3))
    assert len(batches) == what.plan.updates == len(module.BatchPlan(N))
    lengths = [len(b) for b in batches]
    if partial == "keep":
        assert all(0 < a <= b for a, b in zip(lengths, sizes, strict=True))
        assert sum(lengths) == what.plan.examples
    else:
        assert lengths == sizes
    parts = [list(module.BatchPlan(N, seed=3, rank=r, world_size=3)) for r in range(3)]
    for whole, *shares in zip(batches, *parts, strict=True):
        assert sorted(whole) == sorted(x for share in shares for x in share)
    # Within an epoch no example comes twice.
    if partial in ("carry", "wrap"):
        stream = np.concatenate(batches)
        begin = -what.start % N
        assert len(set(stream[begin : begin + N].tolist())) == min(N, len(stream) - begin)


def test_the_rest_of_a_run_goes_on_in_its_order(stand_in, tmp_path):
    whole = CASES["cosine"]
    rest = whole.after(examples=24 * 60, train_size=N)
    one, two = (
        module_of(exported(export(s), "pytorch"), tmp_path, f"made_{i}")
        for i, s in enumerate((whole, rest))
    )
    batches = [list(module.BatchPlan(N, seed=5)) for module in (one, two)]
    assert [list(b) for b in batches[0][60:]] == [list(b) for b in batches[1]]
    assert (two.START, two.MOMENTUM_FACTOR) == (1440, 1.0)
    slower = rest.with_phases([rest.phases[0].changed(momentum=0.5)])
    changed = module_of(exported(export(slower), "pytorch"), tmp_path, "made_slower")
    assert changed.MOMENTUM_FACTOR == pytest.approx(0.1 / 0.5)
    assert "load_state_dict" in changed.__doc__ and "load_state_dict" not in one.__doc__


def test_with_pytorch_itself(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is in the optional group [pytorch]")
    for number, partial in enumerate(("carry", "drop", "keep", "wrap")):
        for name, schedule in {**CASES, "mixed": MIXED}.items():
            check_plan(schedule, f"{name}_{number}", partial, tmp_path)
    phases = [phase.changed(weight_decay=0.02) for phase in joined().phases]
    what = export(Schedule(phases))
    module = module_of(exported(what, "pytorch"), tmp_path, "made_training")
    weight = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], **module.first_hyperparameters())
    scheduler = module.Scheduler(optimizer)
    data = torch.utils.data.TensorDataset(torch.arange(N))
    gradients = np.random.default_rng(0).normal(size=what.plan.updates)
    seen, sizes = [], []
    loader = torch.utils.data.DataLoader(data, batch_sampler=module.BatchPlan(N))
    for k, (batch,) in enumerate(loader):
        group = optimizer.param_groups[0]
        assert group["lr"] == pytest.approx(what.plan.learning_rates()[k], rel=1e-9)
        sizes.append(len(batch))
        weight.grad = torch.tensor(gradients[k], dtype=torch.float64)
        optimizer.step()
        scheduler.step()
        seen.append(float(weight.detach()))
    groups_keep_their_own(torch, module)
    assert sizes == what.plan.batch_sizes().tolist()
    np.testing.assert_allclose(seen, heavy_ball(what.plan, "coupled", gradients), rtol=1e-9)


def groups_keep_their_own(torch, module):
    """Layer-wise rates and groups without weight decay survive; a loaded state hands over."""
    first = module.first_hyperparameters()
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(3)]
    groups = [
        {"params": [weights[0]], "weight_decay": 0.02},
        {"params": [weights[1]], "lr": first["lr"] / 10},
        {"params": [weights[2]], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, **{**first, "weight_decay": 0.02})
    for group in optimizer.param_groups:
        group["params"][0].grad = torch.ones(1)
    scheduler = module.Scheduler(optimizer)
    for k in range(20):
        rates = [group["lr"] for group in optimizer.param_groups]
        expected = module.learning_rate(k)
        assert rates == pytest.approx([expected, expected / 10, expected])
        assert [g["weight_decay"] for g in optimizer.param_groups] == [0.02, 0.02, 0.0]
        optimizer.step()
        scheduler.step()
    before = optimizer.state[weights[0]]["momentum_buffer"].clone()
    again = torch.optim.SGD(groups, **first)
    again.load_state_dict(optimizer.state_dict())
    module.hand_over(again)
    after = again.state[weights[0]]["momentum_buffer"]
    assert float(after) == pytest.approx(float(before) * module.MOMENTUM_FACTOR)
    module.Scheduler(again)
    rates = [group["lr"] for group in again.param_groups]
    assert rates == pytest.approx([module.learning_rate(0) * share for share in (1, 0.1, 1)])
