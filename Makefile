# Commands for those who work on noisescale itself; users need none of them.
PYTHON ?= .venv/bin/python

.PHONY: test test-pytorch mutants lint figures tables benchmarks

test:
	$(PYTHON) -m pytest

# With PyTorch itself: pip install -e '.[test,pytorch]' first.
test-pytorch:
	$(PYTHON) -m pytest tests/formats/test_pytorch.py

# One-line mutations of the formulas; each must turn its named test red.
mutants:
	$(PYTHON) tests/mutants/run.py

lint:
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check . && $(PYTHON) -m mypy

figures:
	$(PYTHON) paper_figs/increase_batch_size.py

tables:
	$(PYTHON) experiments/increase_batch_size/tables.py

benchmarks:
	$(PYTHON) benchmarks/start_up.py && $(PYTHON) benchmarks/drivers.py && $(PYTHON) benchmarks/plans.py
