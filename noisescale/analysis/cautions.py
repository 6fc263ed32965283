"""Warnings: a stable code, a sentence with numbers, a source, and the risk that goes with it."""

from collections.abc import Sequence
from dataclasses import dataclass

from noisescale.analysis.checks import choice

RISKS = ("none", "some", "high")
# Codes that ask for nothing ("none") and those that may ruin a run ("high"); the others: "some".
_RISK = {
    "base-batch-size": "none",
    "cap-reached": "none",
    "no-change": "none",
    "rounded-to-granularity": "none",
    "warm-up-kept": "none",
    "weight-decay-changed": "none",
    "momentum-buffer": "none",
    "adam-moments": "none",
    "scheduler-step": "none",
    "accumulation": "none",
    "unstable": "high",
}


@dataclass(frozen=True, slots=True)
class RuleWarning:
    """Where a rule leaves its derivation: a stable code, a sentence with numbers, a source."""

    code: str
    message: str
    source: str

    @property
    def risk(self) -> str:
        """ "none" (good to know), "some" (the runs may differ) or "high" (a run may fail)."""
        return _RISK.get(self.code, "some")


def risk_of(warnings: Sequence[RuleWarning]) -> str:
    """The highest risk among warnings."""
    return max((w.risk for w in warnings), key=RISKS.index, default="none")


def check_risk(value: object) -> str:
    """A declared risk, or an InputError."""
    return choice("risk", value, RISKS)
