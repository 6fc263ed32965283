"""The walls between the houses, each seen from a fresh interpreter."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "noisescale"


def loaded(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import noisescale", {"numpy", "scipy", "jax", "matplotlib", "rich"}),
        ("import noisescale; noisescale.Phase", {"scipy", "jax", "matplotlib", "rich"}),
        ("import noisescale; noisescale.equivalents", {"scipy", "jax", "matplotlib", "rich"}),
        ("import noisescale.analysis.comparison", {"jax", "matplotlib", "rich"}),
        ("import noisescale.cli.equivalent", {"scipy", "jax", "matplotlib"}),
        ("import noisescale.formats.pytorch", {"scipy", "jax", "matplotlib", "rich"}),
        ("import noisescale.experiment.conclusion", {"jax", "matplotlib"}),
        ("import noisescale.experiment.verify", {"jax", "matplotlib"}),
        ("import noisescale.simulation", {"numpy", "numba", "jax", "matplotlib"}),
        ("import noisescale.simulation.propagation", {"jax", "matplotlib"}),
        ("import noisescale.plots", {"jax", "matplotlib.pyplot"}),
        ("import noisescale.training.run", {"matplotlib"}),
        ("import noisescale.cli.train", {"scipy", "jax", "matplotlib", "rich"}),
        ("import noisescale.record", {"scipy", "jax", "matplotlib", "rich"}),
    ],
)
def test_imports_stay_in_their_house(statement, forbidden):
    assert not loaded(statement) & forbidden


ALLOWED = {
    "analysis": {"analysis", "errors"},
    "simulation": {"simulation", "record", "analysis", "cores", "errors"},
    "training": {"training", "record", "analysis", "recipe", "cores", "errors", ""},
    "experiment": {
        "experiment", "training", "record", "recipe", "analysis", "plots", "cores", "errors", "",
    },
    "cli": {
        "cli", "experiment", "simulation", "training", "formats", "record", "analysis", "recipe",
        "plots", "cores", "errors", "",
    },
    "formats": {"formats", "analysis", "errors"},
    "record": {"errors"},
    "recipe": {"recipe", "analysis", "errors"},
    "plots": {"plots", "analysis", "record", "errors"},
    "cores": set(),
    "errors": set(),
}  # fmt: skip


def nodes_of(tree: ast.AST):
    """All nodes but those of a result's .plot, which imports what draws it when it is called."""
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.FunctionDef) and child.name == "plot"):
            yield child
            yield from nodes_of(child)


def imported(path: Path) -> set[str]:
    found = set()
    for node in nodes_of(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name == "noisescale" or name.startswith("noisescale."):
                found.add(f"{name}.".split(".")[1])
    return found


@pytest.mark.parametrize("house", ALLOWED)
def test_arrows_between_houses(house):
    paths = sorted((PACKAGE / house).rglob("*.py")) or [PACKAGE / f"{house}.py"]
    for path in paths:
        extra = imported(path) - ALLOWED[house]
        assert not extra, f"{path.relative_to(PACKAGE)} imports {extra}"


def test_every_house_is_listed():
    homes = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert homes - {"__init__", "__main__", "catalogue"} == set(ALLOWED)


def test_x64_is_never_set_globally():
    for path in PACKAGE.rglob("*.py"):
        assert "jax_enable_x64" not in path.read_text(), path


@pytest.mark.parametrize("package", ["noisescale", "noisescale.simulation"])
def test_public_names_stay_themselves(package):
    # A submodule of a public name's own name would take its place as soon as it is imported.
    code = (
        f"import types, {package} as p; all(getattr(p, n) for n in p.__all__); "
        "print([n for n in p.__all__ if isinstance(getattr(p, n), types.ModuleType)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
