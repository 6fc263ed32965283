"""What becomes of an optimizer's state when a run goes on with another schedule."""

from noisescale.analysis.cautions import RuleWarning
from noisescale.analysis.schedule import Schedule


def handover_notes(before: Schedule, after: Schedule, train_size: int | None) -> list[RuleWarning]:
    """What to do with the optimizer's state when a run goes on as `after` (see Schedule.after).

    Args:
        before: the rest of the original run, from Schedule.after.
        after: what it goes on as; the same for an unchanged recipe.
    """
    cut = before.resumed
    if cut is None:
        return []
    phase = after.phases[0]
    rate = phase.pieces(phase.clock_size(train_size))[0].start_value
    buffer = (1 - cut.momentum) / (1 - phase.momentum)
    keras = buffer * rate / cut.learning_rate if cut.learning_rate else 1.0
    kappa = phase.batch_size / cut.batch_size
    notes = [
        RuleWarning(
            "momentum-buffer",
            "keep the momentum buffer"
            + (f", times (1−m)/(1−m') = {buffer:.4g}" if abs(buffer - 1) > 1e-9 else "")
            + "; where it holds the learning rate (velocity form, Keras), times "
            + f"{keras:.4g}; emptied, it costs {phase.momentum / (1 - phase.momentum):.3g} updates "
            "of drift",
            "Goyal et al. 2017, section 3 (momentum correction)",
        ),
        RuleWarning(
            "adam-moments",
            "for Adam keep both moments and the step of its bias correction; "
            + (
                "nothing changes for them"
                if kappa == 1
                else f"the noise in the second moment changes {1 / kappa:.3g}-fold and is "
                "forgotten over 1/(1−β2) updates: hold the learning rate back that long, or, "
                "where noise dominates, multiply the second moment by that factor"
            ),
            "Malladi et al. 2022 (second moment ∝ 1/B)",
        ),
        RuleWarning(
            "scheduler-step",
            f"start the scheduler of this schedule at step 0; the old one stands at "
            f"{'an unknown step' if cut.updates is None else f'{cut.updates:,}'} "
            f"({cut.examples:,} examples), and a counter of updates "
            + ("goes on as before" if kappa == 1 else f"now moves {kappa:.4g} times as far each"),
            "the clock of examples; docs/theory.md",
        ),
    ]
    return notes
