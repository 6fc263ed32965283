"""Experiment file → arms × seeds → runs → comparison → results."""

from noisescale.experiment.conclusion import conclude as conclude
from noisescale.experiment.specification import Experiment as Experiment
from noisescale.experiment.specification import find_experiment as find_experiment
from noisescale.experiment.specification import read_experiment as read_experiment
