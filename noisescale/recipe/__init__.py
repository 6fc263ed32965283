"""Recipes: a schedule and, for training, the optimizer, model, data, run and probes."""

from noisescale.recipe.bigbatch import bigbatch_compat as bigbatch_compat
from noisescale.recipe.planning import check_length as check_length
from noisescale.recipe.planning import plan_of as plan_of
from noisescale.recipe.reading import named_document as named_document
from noisescale.recipe.reading import named_recipes as named_recipes
from noisescale.recipe.reading import parse_json as parse_json
from noisescale.recipe.reading import parse_toml as parse_toml
from noisescale.recipe.reading import read_document as read_document
from noisescale.recipe.reading import read_text as read_text
from noisescale.recipe.reading import recipe_from as recipe_from
from noisescale.recipe.reading import schedule_from as schedule_from
from noisescale.recipe.reading import step_schedule as step_schedule
from noisescale.recipe.sections import DataConfig as DataConfig
from noisescale.recipe.sections import ModelConfig as ModelConfig
from noisescale.recipe.sections import OptimizerConfig as OptimizerConfig
from noisescale.recipe.sections import ProbeConfig as ProbeConfig
from noisescale.recipe.sections import Recipe as Recipe
from noisescale.recipe.sections import RunConfig as RunConfig
