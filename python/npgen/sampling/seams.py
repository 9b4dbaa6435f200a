"""The borders between the sources of full canvases, cut anew (Kwatra et al. 2003; Boykov, Veksler and Zabih 2001)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import npgen._core as _core
from npgen.runs import Samples
from npgen.sampling.library import Library
from npgen.sampling.order import known_rect


def cut_seams(
    batch: Samples,
    library: Library,
    *,
    rect: tuple[int, int, int, int],
    barred: NDArray[np.int32],
    threads: int | None,
) -> None:
    """Cut the borders between the sources of full canvases anew, in place; note the sources before, and the energies.

    The sources of a canvas are its labels: pairs of an image and a displacement. A seam between neighbours p and q of
    labels a and b costs ‖I_a(p) − I_b(p)‖ + ‖I_a(q) − I_b(q)‖, each norm rounded up to sixteenths of a grey level: a
    metric in whole numbers. Label after label, that of the most pixels first (of equals the lowest id), takes the
    pixels that make the sum over all neighbours smallest, by one minimum cut; until a round changes nothing, at most
    three times. Labels of fewer than 10 pixels take none, and no label takes a pixel more than 16 pixels outside the
    rectangle around its own. The seed patch stays, and so do pixels whose 5×5 neighbours all have their label. Where an
    image would have more than its `max_share`, each pixel that it gains costs a price, 1, 2, 4 … grey levels until the
    share is kept; an image that had more already gains none.

    Parameters
    ----------
    batch
        B full canvases; image and trace are changed, `grown` and `seam_energy` are written.
    library
        The corpus.
    rect
        The seed patch, (y, x, height, width).
    barred
        (B,): image that gets no pixels, −1 for none.
    threads
        CPU threads; None means one per core.
    """
    assert batch.grown is not None and batch.seam_energy is not None
    image_id, y, x = sources = batch.trace.arrays()[:3]
    np.stack(sources, axis=-1, out=batch.grown)
    images, sizes, local = library.scanned, library.sizes, image_id
    if library.from_file:
        ids, places = np.unique(image_id, return_inverse=True)  # ascending: ties keep their order
        images, local = library.images(ids), places.reshape(image_id.shape).astype(np.int32)
        sizes = None if library.corpus.sizes is None else library.corpus.sizes[ids]
        # A barred image that gave no pixel can't take any.
        found = np.searchsorted(ids, barred).clip(max=max(0, len(ids) - 1))
        barred = np.where(np.isin(barred, ids), found, -1).astype(np.int32)
    if not len(batch):
        return  # this rank has no canvases left, but others needed its images
    shape = image_id.shape[1:3]
    batch.seam_energy[:] = _core.cut_seams(
        images,
        batch.images,
        (local, y, x),
        seed=known_rect((shape[0], shape[1]), rect),
        barred=barred,
        most=batch.config.frame_quota((shape[0], shape[1])),
        threads=threads or 0,
        sizes=sizes,
    )
    if library.from_file:
        image_id[:] = ids[local]
