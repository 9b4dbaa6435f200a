"""From any source of images to arrays with a hash."""

from npgen.corpus.build import BuildOptions, build_corpus
from npgen.corpus.cache import CorpusCache
from npgen.corpus.names import find_corpus, home, load_corpus
from npgen.corpus.resize import label_number, resized
from npgen.corpus.sizes import range_of
from npgen.corpus.store import HASHED_BYTES, Corpus, check_corpus, open_corpus
from npgen.corpus.verify import CorpusReport, verify_corpus

__all__ = [
    "HASHED_BYTES",
    "BuildOptions",
    "Corpus",
    "CorpusCache",
    "CorpusReport",
    "build_corpus",
    "check_corpus",
    "find_corpus",
    "home",
    "label_number",
    "load_corpus",
    "open_corpus",
    "range_of",
    "resized",
    "verify_corpus",
]
