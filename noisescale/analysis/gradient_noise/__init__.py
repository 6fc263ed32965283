"""B_simple = tr Σ/|G|² with errors, and what follows from it."""

from noisescale.analysis.gradient_noise.conclusion import GradientNoiseScale as GradientNoiseScale
from noisescale.analysis.gradient_noise.conclusion import measurements_needed as measurements_needed
from noisescale.analysis.gradient_noise.estimate import gradient_noise_scale as gradient_noise_scale
from noisescale.analysis.gradient_noise.gains import AdaScaleGain as AdaScaleGain
from noisescale.analysis.gradient_noise.gains import StepsAndExamples as StepsAndExamples
from noisescale.analysis.gradient_noise.gains import adascale_gain as adascale_gain
from noisescale.analysis.gradient_noise.gains import steps_and_examples as steps_and_examples
from noisescale.analysis.gradient_noise.gradients import (
    noise_scale_from_examples as noise_scale_from_examples,
)
from noisescale.analysis.gradient_noise.gradients import (
    noise_scale_from_part_norms as noise_scale_from_part_norms,
)
from noisescale.analysis.gradient_noise.gradients import (
    noise_scale_from_parts as noise_scale_from_parts,
)
from noisescale.analysis.gradient_noise.gradients import (
    noise_scale_from_separate as noise_scale_from_separate,
)
from noisescale.analysis.gradient_noise.linear_rule import LinearRuleLimit as LinearRuleLimit
from noisescale.analysis.gradient_noise.linear_rule import linear_rule_limit as linear_rule_limit
from noisescale.analysis.gradient_noise.moments import RecordedMoments as RecordedMoments
from noisescale.analysis.gradient_noise.moments import recorded_moments as recorded_moments
from noisescale.analysis.gradient_noise.over_time import NoiseScaleOverTime as NoiseScaleOverTime
from noisescale.analysis.gradient_noise.over_time import (
    noise_scale_over_time as noise_scale_over_time,
)
from noisescale.analysis.gradient_noise.sweep import CriticalBatchSize as CriticalBatchSize
from noisescale.analysis.gradient_noise.sweep import critical_batch_size as critical_batch_size
