"""Why the distance from the initial weights grows: drift, diffusion, trapping or growing norms."""

from noisescale.analysis.walk.collapse import ClockScore as ClockScore
from noisescale.analysis.walk.estimates import Curve as Curve
from noisescale.analysis.walk.estimates import Number as Number
from noisescale.analysis.walk.trajectory import Trajectory as Trajectory
from noisescale.analysis.walk.verdict import WalkVerdict as WalkVerdict
from noisescale.analysis.walk.verdict import judge_walk as judge_walk
