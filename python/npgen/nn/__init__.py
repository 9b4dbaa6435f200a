"""What all trained networks share."""

from npgen.nn.architecture import Architecture, Layer, fold
from npgen.nn.recipes import JsonRecipe, check_precision
from npgen.nn.stored import StoredNetwork
from npgen.nn.tensors import in_micro_batches, read_safetensors, state_arrays, write_safetensors

__all__ = [
    "Architecture",
    "JsonRecipe",
    "Layer",
    "StoredNetwork",
    "check_precision",
    "fold",
    "in_micro_batches",
    "read_safetensors",
    "state_arrays",
    "write_safetensors",
]
