"""What sampling leaves behind, in memory and on disk."""

from npgen.runs.folder import RunFolder, merge, part_of
from npgen.runs.pictures import class_names, image_id_map, labels_of, save_pictures, save_png
from npgen.runs.reading import load_samples
from npgen.runs.samples import TRACE_DTYPES, Samples, Trace, check_samples, distances_to_show, write_run
from npgen.runs.shards import (
    FORMAT,
    MANIFEST,
    TOKEN_VERSION,
    VERSION,
    check_shards,
    read_arrays,
    read_manifest,
    shard_size,
    write_shards,
)

__all__ = [
    "FORMAT",
    "MANIFEST",
    "TOKEN_VERSION",
    "TRACE_DTYPES",
    "VERSION",
    "RunFolder",
    "Samples",
    "Trace",
    "check_samples",
    "check_shards",
    "class_names",
    "distances_to_show",
    "image_id_map",
    "labels_of",
    "load_samples",
    "merge",
    "part_of",
    "read_arrays",
    "read_manifest",
    "save_pictures",
    "save_png",
    "shard_size",
    "write_run",
    "write_shards",
]
