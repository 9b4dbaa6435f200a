from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DenoisedArrays",
    "Filler",
    "PixelSettings",
    "Pools",
    "TokenFiller",
    "TokenSettings",
    "cut_seams",
    "denoise",
    "draw_halves",
    "draw_members",
    "draw_seed",
    "draw_seed_images",
    "draw_seed_places",
    "fill_order",
    "instruction_sets",
    "max_flow",
    "quotas_in_effect",
    "score_machines",
    "served_counts",
    "shortlist",
    "sliding_entropy",
    "sweep_order",
    "tile_size",
    "used_up_images",
]

# Image ids, y, x, distances and pool sizes of a batch, (B, H, W) each; the core writes to them.
_TraceArrays: TypeAlias = tuple[
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.int32],
    NDArray[np.float32],
    NDArray[np.int32],
]

def fill_order(known: NDArray[np.bool_], window: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...
def shortlist(
    keys: NDArray[np.float32],
    queries: NDArray[np.float32],
    k: int,
    barred: NDArray[np.int32],
    threads: int,
    labels: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]: ...
def sliding_entropy(labels: NDArray[np.int64], window: int) -> NDArray[np.float64]: ...
def instruction_sets() -> list[str]: ...
def max_flow(arcs: NDArray[np.int32], terminals: NDArray[np.int32]) -> tuple[int, NDArray[np.bool_]]: ...
def cut_seams(
    images: NDArray[np.uint8],
    canvases: NDArray[np.uint8],
    sources: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]],
    *,
    seed: NDArray[np.bool_],
    barred: NDArray[np.int32],
    most: int | None,
    threads: int,
    sizes: NDArray[np.int32] | None = None,
) -> NDArray[np.float64]: ...
def sweep_order(pixels: NDArray[np.int32], seed: int, sweep: int) -> NDArray[np.int32]: ...
def draw_members(
    seed: int, sweep: int, samples: NDArray[np.uint64], pixel: int, sizes: NDArray[np.int64]
) -> NDArray[np.int64]: ...
def draw_seed(seed: int, draw: int) -> int: ...
def draw_halves(
    seed: int, samples: NDArray[np.uint64], ids: NDArray[np.int32], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]: ...
def draw_seed_images(seed: int, samples: NDArray[np.uint64], count: int) -> NDArray[np.int32]: ...
def draw_seed_places(seed: int, samples: NDArray[np.uint64], height: int, width: int) -> NDArray[np.int32]: ...
def quotas_in_effect(
    candidates: int, *, window: int, quota: int | None, frame: tuple[int, int], frame_quota: int | None
) -> tuple[bool, bool]: ...
def used_up_images(
    image_id: NDArray[np.int32],
    known: NDArray[np.bool_],
    pixel: tuple[int, int],
    *,
    window: int,
    quota: int | None,
    frame_quota: int | None,
) -> NDArray[np.int32]: ...
def served_counts(
    image_id: NDArray[np.int32], known: NDArray[np.bool_], pixels: NDArray[np.int32], window: int
) -> NDArray[np.int64]: ...
def score_machines() -> list[str]: ...
def tile_size() -> int: ...
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
) -> DenoisedArrays: ...

@final
class DenoisedArrays:
    @property
    def mean(self) -> NDArray[np.float64]: ...
    @property
    def log_sum(self) -> NDArray[np.float64]: ...
    @property
    def entropy(self) -> NDArray[np.float64]: ...
    @property
    def sources(self) -> NDArray[np.int32]: ...
    @property
    def weights(self) -> NDArray[np.float64]: ...
    @property
    def skipped(self) -> NDArray[np.float64]: ...
    @property
    def standard_error(self) -> NDArray[np.float64]: ...
    @property
    def images(self) -> NDArray[np.int64]: ...
    @property
    def weighed(self) -> NDArray[np.float64]: ...

@final
class PixelSettings:
    def __new__(
        cls,
        *,
        frame: tuple[int, int],
        window: int,
        sigma: float,
        radius: int,
        epsilon: float,
        k_min: int,
        best_only: bool,
        quota: int | None,
        frame_quota: int | None,
        copy_quota: int | None,
        corpus_tolerance: bool,
        low_level: bool,
        threads: int,
    ) -> PixelSettings: ...

@final
class Filler:
    def __new__(
        cls,
        images: NDArray[np.uint8],
        settings: PixelSettings,
        *,
        sizes: NDArray[np.int32] | None = None,
        elsewhere: int = 0,
        usable: NDArray[np.bool_] | None = None,
    ) -> Filler: ...
    def fill(
        self,
        canvases: NDArray[np.uint8],
        trace: _TraceArrays,
        *,
        pixels: NDArray[np.int32],
        known: NDArray[np.bool_],
        seed: int,
        sweep: int,
        samples: NDArray[np.uint64],
        barred: NDArray[np.int32],
        shortlists: tuple[NDArray[np.int32], NDArray[np.int64]] | None,
        added: NDArray[np.uint32] | None = None,
        barred_shifts: NDArray[np.int32] | None = None,
    ) -> NDArray[np.int32]: ...
    def candidate_pool(
        self,
        canvas: NDArray[np.uint8],
        known: NDArray[np.bool_],
        pixel: tuple[int, int],
        shortlist: NDArray[np.int32] | None,
        barred: NDArray[np.int32],
        added: NDArray[np.uint32] | None = None,
        barred_pixels: NDArray[np.int32] | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]: ...
    def pools(
        self,
        canvases: NDArray[np.uint8],
        trace: _TraceArrays,
        *,
        pixel: tuple[int, int],
        known: NDArray[np.bool_],
        barred: NDArray[np.int32],
    ) -> Pools: ...
    def merge_runs(
        self, canvases: NDArray[np.int64], distances: NDArray[np.float64], counts: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]: ...
    def terms(self) -> tuple[int, int]: ...
    def time_scan(
        self,
        canvas: NDArray[np.uint8],
        known: NDArray[np.bool_],
        pixel: tuple[int, int],
        shortlist: NDArray[np.int32],
        repeats: int,
        prune: bool,
    ) -> tuple[NDArray[np.float64], int]: ...

@final
class Pools:
    def runs(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]: ...
    def members(self, canvases: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int32]: ...

@final
class TokenSettings:
    def __new__(
        cls,
        *,
        gamma: int | None,
        disc: bool,
        radius: int,
        epsilon: float,
        k_min: int,
        flip: float | None,
        threads: int,
    ) -> TokenSettings: ...

@final
class TokenFiller:
    def __new__(cls, planes: NDArray[np.uint8], bits: int, settings: TokenSettings) -> TokenFiller: ...
    def fill(
        self,
        codes: NDArray[np.uint8],
        trace: _TraceArrays,
        *,
        cells: NDArray[np.int32],
        known: NDArray[np.bool_],
        seed: int,
        sweep: int,
        samples: NDArray[np.uint64],
        barred: NDArray[np.int32],
    ) -> None: ...
    def distances(
        self, codes: NDArray[np.uint8], known: NDArray[np.bool_], cell: tuple[int, int]
    ) -> NDArray[np.uint16]: ...
    def time_scan(
        self, codes: NDArray[np.uint8], known: NDArray[np.bool_], cell: tuple[int, int], repeats: int
    ) -> NDArray[np.float64]: ...
    def distributions(
        self,
        codes: NDArray[np.uint8],
        known: NDArray[np.bool_],
        cell: tuple[int, int],
        flip: float,
        barred: NDArray[np.int32],
    ) -> NDArray[np.float64]: ...
