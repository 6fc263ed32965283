"""Figures: each function draws on the axes it is given; pyplot is never imported."""

from noisescale.plots.figure import add_legend as add_legend
from noisescale.plots.figure import check_ending as check_ending
from noisescale.plots.figure import check_target as check_target
from noisescale.plots.figure import new_figure as new_figure
from noisescale.plots.figure import save as save
from noisescale.plots.figure import save_png_and_pdf as save_png_and_pdf
from noisescale.plots.runs import draw_curves as draw_curves
from noisescale.plots.runs import draw_distance as draw_distance
from noisescale.plots.runs import run_figure as run_figure
from noisescale.plots.runs import verify_figures as verify_figures
from noisescale.plots.schedules import draw_schedules as draw_schedules
from noisescale.plots.walks import draw_collapse as draw_collapse
from noisescale.plots.walks import draw_potential as draw_potential
from noisescale.plots.walks import draw_study as draw_study
from noisescale.plots.walks import draw_walk_distances as draw_walk_distances
from noisescale.plots.walks import simulate_figures as simulate_figures
