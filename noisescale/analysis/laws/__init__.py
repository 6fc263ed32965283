"""Growth laws of distance curves: fits with honest errors, and which law it is."""

from noisescale.analysis.laws.comparison import Comparison
from noisescale.analysis.laws.entry import fit_distance
from noisescale.analysis.laws.fit import Fit
from noisescale.analysis.laws.forms import LAWS

__all__ = ["LAWS", "Comparison", "Fit", "fit_distance"]
