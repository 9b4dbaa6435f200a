"""Score machines (ELS): analytic denoisers of a corpus, and sampling with them.

After Kamb and Ganguli, arXiv 2412.20292.

Read `schedules` first (noise levels, the DDIM step, windows), then `machine` (one denoising), `generate` (sampling) and
`samples` (what it returns, in memory and in run folders). A trained network to compare the machines with: `diffusion`,
`diffusion_training` and `calibrate`, which chooses windows by one.

`diffusion` and `diffusion_training` import torch: import them only where a network is trained or run.
"""

from npgen.els.calibrate import calibrate_windows, check_network
from npgen.els.generate import draw_noise, score_generate
from npgen.els.machine import MACHINES, TILE_SIZE, Denoised, check_settings, denoise, similarity_order
from npgen.els.samples import ScoreSamples, as_uint8, is_score_run, load_score_samples
from npgen.els.schedules import RELEASED, ddim_step, levels, rotation_of, windows_of

__all__ = [
    "MACHINES",
    "RELEASED",
    "TILE_SIZE",
    "Denoised",
    "ScoreSamples",
    "as_uint8",
    "calibrate_windows",
    "check_network",
    "check_settings",
    "ddim_step",
    "denoise",
    "draw_noise",
    "is_score_run",
    "levels",
    "load_score_samples",
    "rotation_of",
    "score_generate",
    "similarity_order",
    "windows_of",
]
