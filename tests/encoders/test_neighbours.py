"""Accuracy of nearest neighbours: against a slow vote, at squares that suit the images."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from npgen.cli import app
from npgen.corpus.store import Corpus
from npgen.encoders.neighbours import knn_accuracy, knn_scores, known_squares
from npgen.encoders.pixels import PixelEncoder


def random_corpus(count=28, seed=0, labels=False, **options):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 14, 12, 1), dtype=np.uint8)
    return Corpus.from_arrays(images, np.arange(count) % 3 if labels else None, name="tiny", **options)


class TestSquares:
    @pytest.mark.parametrize(
        ("side", "squares"),
        [
            (28, (28, 20, 16, 12, 8)),
            (32, (32, 24, 20, 16, 12, 8)),
            (64, (64, 48, 40, 32, 24, 16)),
            (8, (8, 6, 5, 4, 3, 2)),
            (2, (2,)),
            (1, (1,)),
        ],
    )
    def test_follow_the_image(self, side, squares):
        assert known_squares(side, side) == squares

    def test_of_the_longer_side(self):
        assert known_squares(14, 12) == known_squares(12, 14) == (14, 10, 8, 6, 4)


class TestAccuracy:
    def test_against_a_slow_vote(self):
        corpus = random_corpus(40, labels=True)
        tests = random_corpus(9, seed=3).images
        encoder = PixelEncoder(14, 12, 1)
        known = np.zeros((14, 12), bool)
        known[5:9, 4:8] = True
        keys, queries = encoder.encode(corpus.images), encoder.encode(tests, known)
        labels = np.arange(9) % 3
        right = 0
        for query, label in zip(queries, labels, strict=True):
            nearest = np.argsort(-(keys @ query), kind="stable")[:7]
            ballots = corpus.labels[nearest]
            votes = [((ballots == c).sum(), (keys[nearest] @ query)[ballots == c].sum()) for c in range(3)]
            right += int(max(range(3), key=lambda c: votes[c])) == label
        assert knn_accuracy(encoder, corpus, tests, labels, squares=(4,), k=7) == {4: right / 9}

    def test_purity_against_a_slow_count(self):
        corpus = random_corpus(130, labels=True)
        tests, labels = random_corpus(9, seed=3).images, np.arange(9) % 3
        encoder = PixelEncoder(14, 12, 1)
        keys, queries = encoder.encode(corpus.images), encoder.encode(tests, np.ones((14, 12), bool))
        order = np.argsort(-(queries @ keys.T), axis=1, kind="stable")
        same = corpus.labels[order] == labels[:, None]
        scores = knn_scores(encoder, corpus, tests, labels, (14,), keys=keys)[14]
        assert scores.purity_short == pytest.approx(same[:, :15].mean())
        assert scores.purity_long == pytest.approx(same[:, :100].mean())
        assert knn_scores(encoder, corpus, tests, labels, (14,))[14] == scores
        assert {14: scores.accuracy} == knn_accuracy(encoder, corpus, tests, labels, (14,))

    def test_a_whole_source_image_finds_itself(self):
        corpus = random_corpus(20, labels=True)
        encoder = PixelEncoder(14, 12, 1)
        accuracy = knn_accuracy(encoder, corpus, corpus.images, corpus.labels, squares=(99,), k=1)
        assert accuracy == {99: 1.0}

    def test_bad_arguments(self):
        corpus, encoder = random_corpus(20, labels=True), PixelEncoder(14, 12, 1)
        images, labels = corpus.images, corpus.labels
        with pytest.raises(ValueError, match="corpus must be one with labels, got 'tiny'"):
            knn_accuracy(encoder, random_corpus(), images, labels)
        with pytest.raises(ValueError, match="test_labels must be of length 20, at least 1, got 3"):
            knn_accuracy(encoder, corpus, images, labels[:3])
        with pytest.raises(ValueError, match=r"k must be in 1\.\.20, got 21"):
            knn_accuracy(encoder, corpus, images, labels, k=21)
        with pytest.raises(ValueError, match=r"squares must be sides of at least 1, got \(0,\)"):
            knn_accuracy(encoder, corpus, images, labels, squares=(0,))

    def test_default_squares_and_progress(self, capsys):
        corpus, encoder = random_corpus(20, labels=True), PixelEncoder(14, 12, 1)
        accuracy = knn_accuracy(encoder, corpus, corpus.images, corpus.labels, k=3)
        assert tuple(accuracy) == known_squares(14, 12)
        assert capsys.readouterr() == ("", "")
        assert knn_accuracy(encoder, corpus, corpus.images, corpus.labels, k=3, progress=True) == accuracy
        assert "accuracy" in capsys.readouterr().err

    def test_many_images_are_taken_in_parts(self, monkeypatch):
        corpus, encoder = random_corpus(40, labels=True), PixelEncoder(14, 12, 1)
        expected = knn_accuracy(encoder, corpus, corpus.images, corpus.labels)
        monkeypatch.setattr("npgen.encoders.neighbours.CHUNK", 7)
        assert knn_accuracy(encoder, corpus, corpus.images, corpus.labels) == expected


class TestCommand:
    def run(self, *arguments):
        return CliRunner().invoke(app, ["encoder", "check", *map(str, arguments)])

    def test_table(self, tmp_path):
        held = random_corpus(9, seed=3, labels=True)
        corpus = random_corpus(40, labels=True, heldout=held).save(tmp_path / "corpus")
        result = self.run("pixels", corpus.path, "-q")
        assert result.exit_code == 0, result.output
        scores = knn_scores(PixelEncoder(14, 12, 1), corpus, held.images, held.labels)
        rows = "".join(
            f"| {side} | {score.accuracy:.4f} | {score.purity_short:.4f} | {score.purity_long:.4f} |\n"
            for side, score in scores.items()
        )
        assert result.stdout == (
            "PixelEncoder(shape=(14, 12, 1), grid=(7, 7)): 40 keys, 9 held-out images\n\n"
            "| known square | 20-NN accuracy | purity of 15 | purity of 100 |\n|---:|---:|---:|---:|\n" + rows
        )

    def test_heldout(self, tmp_path):
        random_corpus(40, labels=True).save(tmp_path / "corpus")
        random_corpus(9, seed=3, labels=True).save(tmp_path / "held")
        missing = self.run("pixels", tmp_path / "corpus", "-q")
        assert missing.exit_code == 2
        assert "heldout must be a corpus of labelled images, as there are none beside the corpus" in missing.stderr
        result = self.run("pixels", tmp_path / "corpus", "--heldout", tmp_path / "held", "--square", 6, "-q")
        assert result.exit_code == 0 and result.stdout.count("\n| ") == 2
