"""Exact search on a GPU, where there is one: by faiss where its GPU build is installed, else by torch.

The one place of the pipeline that may import torch, and only where a GPU's driver is there: it takes
seconds.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import numpy as np

from pipeline.rows import slices

if TYPE_CHECKING:
    import torch

DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # of Linux, and of Linux inside Windows
QUERIES_AT_ONCE, ROWS_AT_ONCE = 4096, 1 << 17  # 2 GB of cosines

Found = tuple[np.ndarray, np.ndarray]  # cosines and rows, (Q, k) both
Find = Callable[[np.ndarray, int], Found]


def has_gpu() -> bool:
    """Whether exact search would run on a GPU."""
    if faiss.get_num_gpus():
        return True
    if not any(Path(driver).exists() for driver in DRIVERS):
        return False
    import torch

    return torch.cuda.is_available()


def find_on_gpu(unit: np.ndarray) -> Find:
    """Search among `unit`, float32 (N, D), held on the GPU: `find(queries, k)` gives cosines and rows."""
    if faiss.get_num_gpus():
        index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(unit.shape[1]))
        index.add(unit)
        return index.search
    import torch

    return find_by_matrices(unit, torch.device("cuda"))


def find_by_matrices(unit: np.ndarray, device: "torch.device") -> Find:
    """Search by torch: blocks of a matrix of cosines, and the best k of each row so far."""
    import torch

    everyone = torch.from_numpy(unit).to(device)

    def find(queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        parts = [torch.from_numpy(queries[part]).to(device) for part in slices(len(queries), QUERIES_AT_ONCE)]
        found = [find_block(part, k) for part in parts]
        cosines, rows = (torch.cat(column).cpu().numpy() for column in zip(*found, strict=True))
        return cosines, rows

    def find_block(queries: "torch.Tensor", k: int) -> tuple["torch.Tensor", "torch.Tensor"]:
        best = torch.empty((len(queries), 0), device=device)
        rows = torch.empty((len(queries), 0), dtype=torch.long, device=device)
        for part in slices(len(everyone), ROWS_AT_ONCE):
            cosines, here = torch.topk(queries @ everyone[part].T, min(k, part.stop - part.start))
            best, chosen = torch.topk(torch.cat([best, cosines], 1), min(k, best.shape[1] + cosines.shape[1]))
            rows = torch.cat([rows, here + part.start], 1).gather(1, chosen)
        return best, rows

    return find
