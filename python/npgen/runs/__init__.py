"""What sampling leaves behind, in memory and on disk."""

from npgen.runs.folder import RunFolder, merge, part_of
from npgen.runs.pictures import class_names, coloured_by_image, required_labels, save_pictures
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
    "coloured_by_image",
    "distances_to_show",
    "load_samples",
    "merge",
    "part_of",
    "read_arrays",
    "read_manifest",
    "required_labels",
    "save_pictures",
    "shard_size",
    "write_run",
    "write_shards",
]
