"""Source tracing (section 3.2 of the paper): figures that show where every pixel of a sample came from.

Each function draws on the Axes or in the figure given, or on a new pyplot figure as wide as a column of a paper, and
returns the Axes. Text, lines and marks are vectors; pictures keep their pixels. Colour scales are ordered for
colour-blind people too; if colours only separate regions, lines separate them as well.

Importing this package imports matplotlib. Read `canvas` (parts of all drawings), `maps` (maps of a sample), `usage`
(timeline and mosaic), `layouts` (figures of several drawings), then `files`.
"""

from npgen.tracing.canvas import fill_steps
from npgen.tracing.files import save_figures
from npgen.tracing.layouts import samples_with_maps, sources_around, timeline_with_maps
from npgen.tracing.maps import (
    class_entropy,
    class_map,
    distance_map,
    fill_order_map,
    image_id_entropy,
    image_id_map,
    pool_size_map,
    sample,
)
from npgen.tracing.usage import patch_mosaic, timeline

__all__ = [
    "class_entropy",
    "class_map",
    "distance_map",
    "fill_order_map",
    "fill_steps",
    "image_id_entropy",
    "image_id_map",
    "patch_mosaic",
    "pool_size_map",
    "sample",
    "samples_with_maps",
    "save_figures",
    "sources_around",
    "timeline",
    "timeline_with_maps",
]
