"""Whether this machine and these libraries compute what training needs.

A release of JAX once computed wrong numbers for arrays of some sizes, without a word. So every
kernel that training uses runs here, compiled as training compiles it, against a twin: the same
formula written down in NumPy, in float64, as plainly as possible.
"""

# Registers the checks, which run in this order.
from noisescale.training.self_test import (  # isort: skip
    gradients as gradients,
    batch_norm as batch_norm,
    updates as updates,
    random_numbers as random_numbers,
    measurements as measurements,
)
from noisescale.training.self_test.checks import Check as Check
from noisescale.training.self_test.checks import check_names as check_names
from noisescale.training.self_test.checks import run_checks as run_checks
