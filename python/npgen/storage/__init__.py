"""Files: atomic writers, `.npy` arrays and JSON. A file or folder appears under its name only when it is complete.

- `files`: atomic files and folders, hashes, JSON.
- `npy`: `.npy` files, written row by row and memory-mapped after checks.
"""

from npgen.storage import npy
from npgen.storage.files import (
    new_folder,
    open_regular,
    parse_json,
    read_json,
    refuse_existing,
    replacing,
    sha256_file,
    write_bytes,
    write_json,
)
from npgen.storage.npy import open_array

__all__ = [
    "new_folder",
    "npy",
    "open_array",
    "open_regular",
    "parse_json",
    "read_json",
    "refuse_existing",
    "replacing",
    "sha256_file",
    "write_bytes",
    "write_json",
]
