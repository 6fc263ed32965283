"""A recipe's plan at the size of its data."""

from noisescale.analysis.plan import Plan
from noisescale.errors import InputError
from noisescale.recipe.sections import Recipe

MOST_UPDATES, MOST_EVALUATIONS = 10**9, 10**5


def plan_of(recipe: Recipe, train_size: int) -> Plan:
    """The whole updates of a recipe at N = train_size.

    Raises:
        InputError: the recipe states another train_size, or a run beyond every measure.
    """
    if recipe.train_size not in (None, train_size):
        raise InputError(
            f"train_size={recipe.train_size}, but the data set has {train_size} training "
            "examples: correct or remove it"
        )
    plan = recipe.schedule.plan(train_size, recipe.partial)
    check_length(plan, recipe.run.evaluate_every)
    return plan


def check_length(plan: Plan, evaluate_every: float) -> None:
    """InputError if a plan has more updates or evaluations than can be run."""
    evaluations = float(plan.rows[-1].end_examples) / (plan.train_size or 1) / evaluate_every
    if plan.updates > MOST_UPDATES or evaluations > MOST_EVALUATIONS:
        raise InputError(
            f"its plan has {plan.updates:.3g} updates and {evaluations:.3g} evaluations; at "
            f"most {MOST_UPDATES:.0e} and {MOST_EVALUATIONS:.0e} can be run"
        )
