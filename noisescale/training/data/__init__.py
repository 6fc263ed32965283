"""Real data sets as arrays in memory, one file per family."""

from noisescale.training.data.dataset import Dataset as Dataset
from noisescale.training.data.load import load_dataset as load_dataset
