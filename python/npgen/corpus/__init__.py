"""Corpora: source images, read from anywhere, checked, hashed and stored.

Read the modules in the order of the data:

- `sources`, `folders`, `array_files`: what can be a source, as lists of images to read, `splits`.
- `decode`, `values`: one image of any kind to pixels.
- `checks`, `sizes`: what images, labels and class names must be, and how images of several sizes share one array.
- `manifest`, `store`: the class `Corpus`, in memory and as a folder.
- `account`: what a build read, converted and left out, and which images are copies.
- `build`: `build_corpus`, which joins the modules above: from a source to a folder.
- `known`: which corpora are of a data set that networks are shipped for.
- `names`: `load_corpus`, which finds corpora by name; the demo corpus.
- `verify`: complete verification of a folder.
- `cache`: values derived from a corpus, such as keys, stored in its folder.
- `labels`, `resize`: classes by name; copies with images of another size.
"""

from npgen.corpus.account import BuildAccount, LeftOut, image_digest, read_account
from npgen.corpus.build import BuildOptions, build_corpus
from npgen.corpus.cache import CorpusCache
from npgen.corpus.known import DATA_SETS, known_data_set
from npgen.corpus.labels import label_number
from npgen.corpus.manifest import read_manifest
from npgen.corpus.names import find_corpus, find_recorded, home, load_corpus
from npgen.corpus.resize import resized
from npgen.corpus.sizes import describe_sizes
from npgen.corpus.store import HASHED_BYTES, Corpus, check_corpus, open_corpus
from npgen.corpus.verify import CorpusReport, verify_corpus

__all__ = [
    "DATA_SETS",
    "HASHED_BYTES",
    "BuildAccount",
    "BuildOptions",
    "Corpus",
    "CorpusCache",
    "CorpusReport",
    "LeftOut",
    "build_corpus",
    "check_corpus",
    "describe_sizes",
    "find_corpus",
    "find_recorded",
    "home",
    "image_digest",
    "known_data_set",
    "label_number",
    "load_corpus",
    "open_corpus",
    "read_account",
    "read_manifest",
    "resized",
    "verify_corpus",
]
