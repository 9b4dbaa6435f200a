"""Values derived from corpora: stored beside the images, or held in memory."""

import gc

import numpy as np
import pytest

import npgen
from npgen.corpus import CorpusCache, load_corpus
from npgen.storage import npy, write_bytes

IMAGES = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)


class Texts:
    """A cache of texts that counts how often they are computed, stored and opened."""

    def __init__(self, entry="texts/{key}.txt", writeable=True, **options):
        self.cache = CorpusCache("texts", entry, **options)
        self.calls = []
        self.writeable = writeable

    def fetch(self, corpus, key):
        return self.cache.fetch(corpus, key, make=lambda: self.make(key), open=self.open, store=self.store)

    def make(self, key):
        self.calls.append("make")
        return f"text of {key}"

    def open(self, path):
        self.calls.append("open")
        return path.read_text()

    def store(self, path):
        self.calls.append("store")
        if not self.writeable:
            self.cache.warn_not_stored(PermissionError(13, "Permission denied"))
            return None
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, f"text of {path.stem}".encode())
        return path.read_text()


@pytest.fixture
def corpus():
    return npgen.Corpus.from_arrays(IMAGES)


@pytest.fixture
def stored(corpus, tmp_path):
    return corpus.save(tmp_path / "corpus")


def test_values_of_a_corpus_in_memory_are_computed_once(corpus):
    texts = Texts()
    assert texts.fetch(corpus, "a") == texts.fetch(corpus, "a") == "text of a"
    assert texts.fetch(corpus, "b") == "text of b"
    assert texts.fetch(npgen.Corpus.from_arrays(IMAGES), "a") == "text of a"  # another object
    assert texts.calls == ["make"] * 3
    assert texts.cache.path(corpus, "a") is None


def test_values_in_memory_end_with_their_corpus():
    texts, corpus = Texts(), npgen.Corpus.from_arrays(IMAGES)
    texts.fetch(corpus, "a")
    assert len(texts.cache._values) == 1
    del corpus
    gc.collect()
    assert len(texts.cache._values) == 0


def test_values_of_a_stored_corpus_are_stored_once(stored):
    texts = Texts()
    assert texts.fetch(stored, "a") == "text of a"
    assert (stored.path / "texts" / "a.txt").read_text() == "text of a"
    assert texts.fetch(stored, "a") == Texts().fetch(load_corpus(stored.path), "a") == "text of a"
    assert texts.calls == ["store", "open"]
    assert texts.cache.recall(stored, "a") is None


def test_values_that_take_long_to_open_are_held_too(stored):
    texts = Texts(hold=True)
    for _ in range(3):
        assert texts.fetch(stored, "a") == "text of a"
    assert texts.calls == ["store"]


def test_a_folder_that_cannot_be_written(stored):
    texts = Texts(writeable=False)
    with pytest.warns(UserWarning, match="texts held in memory only, as the corpus folder cannot be written: .*denied"):
        assert texts.fetch(stored, "a") == "text of a"
    assert texts.fetch(stored, "a") == "text of a"
    assert texts.calls == ["store", "make"]


def test_the_latest_value_only(corpus):
    texts = Texts(None, latest_only=True)
    other = npgen.Corpus.from_arrays(IMAGES + np.uint8(1))
    for of, key in [(corpus, "a"), (corpus, "a"), (other, "a"), (corpus, "a"), (corpus, "b"), (corpus, "b")]:
        texts.fetch(of, key)
    assert texts.calls == ["make"] * 4
    assert texts.cache.recall(other, "a") is None


def test_without_an_entry_nothing_is_stored(stored):
    texts = Texts(None)
    texts.fetch(stored, "a")
    assert texts.calls == ["make"]
    assert texts.cache.path(stored, "a") is None


def test_a_manifest_names_what_it_belongs_to(tmp_path):
    cache = CorpusCache("texts")
    cache.check_manifest(tmp_path, {"corpus": "abc", "version": 1}, {"corpus": "abc"})
    with pytest.raises(
        ValueError, match=r"texts '.*' must be of corpus abc \(delete it to have it computed again\), got 'd'"
    ):
        cache.check_manifest(tmp_path, {"corpus": "d"}, {"corpus": "abc"})
    with pytest.raises(ValueError, match="must be of corpus abc .*, got None"):
        cache.check_manifest(tmp_path, {}, {"corpus": "abc"})


def test_rows_are_checked_when_they_are_opened(tmp_path, monkeypatch):
    cache, path = CorpusCache("rows"), tmp_path / "rows.npy"
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    sha256 = npy.write_array(path, rows)
    np.testing.assert_array_equal(cache.open_rows(tmp_path, path, 3, sha256), rows)
    with pytest.raises(ValueError, match=r"rows '.*' must be as written, in rows.npy \(delete it .*\), got 'altered"):
        cache.open_rows(tmp_path, path, 3, "0" * 64)
    with pytest.raises(ValueError, match=r"must be an array of shape \(4, any\), got \(3, 2\)"):
        cache.open_rows(tmp_path, path, 4, sha256)
    monkeypatch.setattr("npgen.corpus.cache.HASHED_BYTES", 0)  # a large file is not hashed
    np.testing.assert_array_equal(cache.open_rows(tmp_path, path, 3, "0" * 64), rows)
