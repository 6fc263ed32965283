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
    # Within an epoch no example comes twice.
    if partial in ("carry", "wrap"):
        stream = np.concatenate(batches)
        assert len(set(stream[:N].tolist())) == N
        assert len(set(stream[N : 2 * N].tolist())) == N


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
    assert sizes == what.plan.batch_sizes().tolist()
    np.testing.assert_allclose(seen, heavy_ball(what.plan, "coupled", gradients), rtol=1e-9)
