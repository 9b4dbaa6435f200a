"""Analytic score machines."""

from npgen.els.calibrate import calibrate_windows, check_network
from npgen.els.generate import check_run, draw_noise, score_generate
from npgen.els.machine import MACHINES, Denoised, denoise, images_alike
from npgen.els.samples import (
    AnySamples,
    ScoreSamples,
    as_uint8,
    check_traced,
    is_score_run,
    load_score_samples,
    pixels_of,
)
from npgen.els.schedules import RELEASED, levels, windows_of

__all__ = [
    "MACHINES",
    "RELEASED",
    "AnySamples",
    "Denoised",
    "ScoreSamples",
    "as_uint8",
    "calibrate_windows",
    "check_network",
    "check_run",
    "check_traced",
    "denoise",
    "draw_noise",
    "images_alike",
    "is_score_run",
    "levels",
    "load_score_samples",
    "pixels_of",
    "score_generate",
    "windows_of",
]
