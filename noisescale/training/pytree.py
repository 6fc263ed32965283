"""Nested containers of arrays, as JAX maps over them."""

from typing import Any

PyTree = Any
