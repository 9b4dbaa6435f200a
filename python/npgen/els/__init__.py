"""Analytic score machines."""

from npgen.els.calibrate import calibrate_windows, check_network
from npgen.els.generate import check_run, draw_noise, score_generate
from npgen.els.machine import MACHINES, Denoised, denoise, images_alike
from npgen.els.samples import ScoreSamples, is_score_run, load_score_samples
from npgen.els.schedules import RELEASED, levels, windows_of

__all__ = [
    "MACHINES",
    "RELEASED",
    "Denoised",
    "ScoreSamples",
    "calibrate_windows",
    "check_network",
    "check_run",
    "denoise",
    "draw_noise",
    "images_alike",
    "is_score_run",
    "levels",
    "load_score_samples",
    "score_generate",
    "windows_of",
]
