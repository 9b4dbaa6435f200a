from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Filler",
    "draw_seed_images",
    "fill_order",
    "instruction_sets",
    "shortlist",
    "sliding_entropy",
]

def fill_order(known: NDArray[np.bool_], window: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...
def shortlist(
    keys: NDArray[np.float32],
    queries: NDArray[np.float32],
    k: int,
    barred: NDArray[np.int32],
    threads: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]: ...
def sliding_entropy(labels: NDArray[np.int64], window: int) -> NDArray[np.float64]: ...
def instruction_sets() -> list[str]: ...
def draw_seed_images(seed: int, samples: NDArray[np.uint64], count: int) -> NDArray[np.int32]: ...

@final
class Filler:
    def __new__(
        cls,
        images: NDArray[np.uint8],
        *,
        window: int,
        sigma: float,
        radius: int,
        epsilon: float,
        k_min: int,
        best_only: bool,
        threads: int,
    ) -> Filler: ...
    def fill(
        self,
        canvases: NDArray[np.uint8],
        trace: tuple[
            NDArray[np.int32],
            NDArray[np.int32],
            NDArray[np.int32],
            NDArray[np.float32],
            NDArray[np.int32],
        ],
        *,
        pixels: NDArray[np.int32],
        known: NDArray[np.bool_],
        seed: int,
        samples: NDArray[np.uint64],
        barred: NDArray[np.int32],
        shortlists: NDArray[np.int32] | None,
    ) -> None: ...
    def candidate_pool(
        self,
        canvas: NDArray[np.uint8],
        known: NDArray[np.bool_],
        pixel: NDArray[np.int32],
        shortlist: NDArray[np.int32] | None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]: ...
    def terms(self) -> tuple[int, int]: ...
    def time_scan(
        self,
        canvas: NDArray[np.uint8],
        known: NDArray[np.bool_],
        pixel: NDArray[np.int32],
        shortlist: NDArray[np.int32],
        repeats: int,
        prune: bool,
    ) -> tuple[NDArray[np.float64], int]: ...
