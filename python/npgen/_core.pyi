from typing import final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Filler",
    "Pools",
    "TokenFiller",
    "denoise",
    "draw_members",
    "draw_seed_images",
    "draw_seed_places",
    "fill_order",
    "instruction_sets",
    "score_machines",
    "shortlist",
    "sliding_entropy",
    "sweep_order",
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
def sweep_order(pixels: NDArray[np.int32], seed: int, sweep: int) -> NDArray[np.int32]: ...
def draw_members(
    seed: int, sweep: int, samples: NDArray[np.uint64], pixel: int, sizes: NDArray[np.int64]
) -> NDArray[np.int64]: ...
def draw_seed_images(seed: int, samples: NDArray[np.uint64], count: int) -> NDArray[np.int32]: ...
def draw_seed_places(seed: int, samples: NDArray[np.uint64], height: int, width: int) -> NDArray[np.int32]: ...
def score_machines() -> list[str]: ...
def denoise(
    images: NDArray[np.uint8],
    ids: NDArray[np.int32],
    canvases: NDArray[np.float32],
    *,
    machine: str,
    window: int,
    signal: float,
    noise: float,
    tolerance: float,
    sampling: float,
    rotation: int,
    sources: int,
    threads: int,
) -> tuple[
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.float64],
]: ...

@final
class Filler:
    def __new__(
        cls,
        images: NDArray[np.uint8],
        *,
        frame: tuple[int, int],
        window: int,
        sigma: float,
        radius: int,
        epsilon: float,
        k_min: int,
        best_only: bool,
        quota: int | None,
        literal: bool,
        compare: bool,
        threads: int,
        elsewhere: int = 0,
        sizes: NDArray[np.int32] | None = None,
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
        sweep: int,
        samples: NDArray[np.uint64],
        barred: NDArray[np.int32],
        shortlists: tuple[NDArray[np.int32], NDArray[np.int64]] | None,
    ) -> NDArray[np.int32]: ...
    def candidate_pool(
        self,
        canvas: NDArray[np.uint8],
        known: NDArray[np.bool_],
        pixel: NDArray[np.int32],
        shortlist: NDArray[np.int32] | None,
        barred: NDArray[np.int32],
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]: ...
    def pools(
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
        pixel: NDArray[np.int32],
        known: NDArray[np.bool_],
        sweep: int,
        barred: NDArray[np.int32],
    ) -> Pools: ...
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

@final
class Pools:
    def runs(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]: ...
    def members(self, canvases: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int32]: ...

@final
class TokenFiller:
    def __new__(
        cls,
        planes: NDArray[np.uint8],
        *,
        bits: int,
        gamma: int | None,
        disc: bool,
        radius: int,
        threads: int,
    ) -> TokenFiller: ...
    def fill(
        self,
        codes: NDArray[np.uint8],
        trace: tuple[
            NDArray[np.int32],
            NDArray[np.int32],
            NDArray[np.int32],
            NDArray[np.float32],
            NDArray[np.int32],
        ],
        *,
        cells: NDArray[np.int32],
        known: NDArray[np.bool_],
        seed: int,
        sweep: int,
        samples: NDArray[np.uint64],
        barred: NDArray[np.int32],
        epsilon: float,
        k_min: int,
        flip: float | None,
    ) -> None: ...
    def distances(
        self, codes: NDArray[np.uint8], known: NDArray[np.bool_], cell: NDArray[np.int32]
    ) -> NDArray[np.uint16]: ...
    def time_scan(
        self, codes: NDArray[np.uint8], known: NDArray[np.bool_], cell: NDArray[np.int32], repeats: int
    ) -> NDArray[np.float64]: ...
    def distributions(
        self,
        codes: NDArray[np.uint8],
        known: NDArray[np.bool_],
        cell: NDArray[np.int32],
        flip: float,
        barred: NDArray[np.int32],
    ) -> NDArray[np.float64]: ...
