"""Experiment file → arms × seeds → runs → comparison → results."""

from noisescale.experiment.conclusion import conclude as conclude
from noisescale.experiment.parsing import find_experiment as find_experiment
from noisescale.experiment.parsing import read_experiment as read_experiment
from noisescale.experiment.specification import Experiment as Experiment
