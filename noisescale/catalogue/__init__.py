"""Recipes and experiments that ship with the package, as TOML."""
