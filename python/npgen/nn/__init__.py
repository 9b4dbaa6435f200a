"""What all trained networks share: shapes, files, running and training them. No module knows what a network is for.

Read `architecture` and `layers` first (a stack of convolutions: its shapes, and as a torch module), then `tensors`,
`stored` and `shipped` (networks in files), `inference` (running them), and `recipes`, `limits`, `checkpoints` and
`training`.

`layers`, `checkpoints` and `training` import torch: import them only where a network is trained.
"""

from npgen.nn.architecture import Architecture, Layer, fold
from npgen.nn.inference import in_micro_batches
from npgen.nn.limits import Limits
from npgen.nn.recipes import JsonRecipe, check_precision
from npgen.nn.shipped import ShippedNetwork
from npgen.nn.stored import ModuleNetwork, module_shapes, module_tensors, read_header
from npgen.nn.tensors import read_foreign_tensors

__all__ = [
    "Architecture",
    "JsonRecipe",
    "Layer",
    "Limits",
    "ModuleNetwork",
    "ShippedNetwork",
    "check_precision",
    "fold",
    "in_micro_batches",
    "module_shapes",
    "module_tensors",
    "read_foreign_tensors",
    "read_header",
]
