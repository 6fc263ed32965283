# Commands for those who work on noisescale itself; users need none of them.
PYTHON ?= .venv/bin/python

.PHONY: test long test-pytorch mutants kills tpu lint figures tables benchmarks benchmarks-pytorch benchmarks-simulation

test:
	$(PYTHON) -m pytest -n auto --dist loadfile

# Tests that take minutes; their last summary is tests/long-last-run.txt.
long:
	(echo "commit $$(git rev-parse --short HEAD), $$(date +%F)"; $(PYTHON) -m pytest -m long -q | tail -1) | tee tests/long-last-run.txt

# With PyTorch itself: pip install -e '.[test,pytorch]' first.
test-pytorch:
	$(PYTHON) -m pytest tests/formats/test_pytorch.py tests/training/test_pytorch.py

# One-line mutations of the formulas; each must turn its named test red.
mutants:
	$(PYTHON) tests/mutants/run.py

# SIGKILLs at uniform times and at chosen moments; every run must end as if it had not been killed.
kills:
	$(PYTHON) tests/kills/run.py --kills 44

# Compiles training for four TPU chips ahead of time: pip install -e '.[test]' 'jax[tpu]' first.
tpu:
	$(PYTHON) tests/tpu/compile.py

lint:
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check . && $(PYTHON) -m mypy

figures:
	$(PYTHON) -m noisescale figures

# Exit code 1 if a table in a README is not what its results give.
tables:
	$(PYTHON) -m noisescale figures --check

benchmarks:
	$(PYTHON) benchmarks/start_up.py && $(PYTHON) benchmarks/drivers.py && $(PYTHON) benchmarks/probes.py && $(PYTHON) benchmarks/plans.py && $(PYTHON) benchmarks/training.py

# Against what users would pick instead: pip install -e '.[simulate,peers]' first.
benchmarks-simulation:
	$(PYTHON) benchmarks/simulation.py && $(PYTHON) benchmarks/barrier_tree.py && $(PYTHON) benchmarks/walkers.py

# With PyTorch itself: pip install -e '.[test,pytorch]' first.
benchmarks-pytorch:
	$(PYTHON) benchmarks/pytorch.py
