"""JAX: data, models, steps, drivers and probes of real training runs."""
