"""What sampling leaves behind, in memory and on disk.

Read in this order: `facts` (what a run is), `trace` (where each pixel came from), `samples`, `recut` (before their
borders were cut anew), `traced`, `shards` and `folder` (a run written while it is made), `reading` (a run read back),
`pictures` (samples, image-ID maps and class maps as PNG files).
"""

from npgen.runs.coarse import COARSE_ARRAYS, CoarseLevels, coarse_forms, coarse_of, level_shape
from npgen.runs.facts import FORMAT, VERSION, RunFacts, differences, run_name
from npgen.runs.folder import RunFolder, merge, part_of
from npgen.runs.levels import at_level
from npgen.runs.pictures import class_name, coloured_by_image, required_labels, save_pictures
from npgen.runs.reading import load_samples
from npgen.runs.recut import before_seams, recut_pixels
from npgen.runs.samples import Samples, check_samples, distances_to_show
from npgen.runs.shards import MANIFEST, Shard, check_finished, read_arrays, read_manifest, shards_of, write_shards
from npgen.runs.trace import TRACE_DTYPES, Trace
from npgen.runs.traced import TracedSamples, check_traced
from npgen.runs.writing import write_run

__all__ = [
    "COARSE_ARRAYS",
    "FORMAT",
    "MANIFEST",
    "TRACE_DTYPES",
    "VERSION",
    "CoarseLevels",
    "RunFacts",
    "RunFolder",
    "Samples",
    "Shard",
    "Trace",
    "TracedSamples",
    "at_level",
    "before_seams",
    "check_finished",
    "check_samples",
    "check_traced",
    "class_name",
    "coarse_forms",
    "coarse_of",
    "coloured_by_image",
    "differences",
    "distances_to_show",
    "level_shape",
    "load_samples",
    "merge",
    "part_of",
    "read_arrays",
    "read_manifest",
    "recut_pixels",
    "required_labels",
    "run_name",
    "save_pictures",
    "shards_of",
    "write_run",
    "write_shards",
]
