"""Token stores: what goes in comes out, whatever the block; what was altered or exchanged is refused."""

from __future__ import annotations

import json
import pickle
import re

import corpora
import numpy as np
import pytest
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.tokens import encode as module
from npgen.tokens.encode import encode_tokens, load_tokens
from npgen.tokens.store import Tokens, open_tokens


def random_codes(n=9, grid=(3, 4), bits=11, seed=0):
    numbers = np.random.default_rng(seed).integers(0, 1 << bits, (n, *grid))
    return ((numbers[..., None] >> 8 * np.arange(-(-bits // 8))) & 0xFF).astype(np.uint8)


@pytest.fixture(scope="module")
def stored(digits, tmp_path_factory):
    """The digits as a folder, and their tokens beside them."""
    corpus = digits.save(tmp_path_factory.mktemp("corpora") / "digits")
    return corpus, encode_tokens(corpus, corpora.autoencoder(bits=11), corpus.path / "tokens", progress=False)


class TestTokens:
    @pytest.mark.parametrize("bits", [1, 7, 8, 9, 16, 63, 64])
    def test_codes_survive_the_round_trip(self, bits):
        codes = np.random.default_rng(bits).integers(0, 256, (9, 3, 4, -(-bits // 8))).astype(np.uint8)
        codes[..., -1] &= (1 << ((bits - 1) % 8 + 1)) - 1
        tokens = Tokens.from_codes(codes, bits)
        assert tokens.planes.shape == (3, 4, -(-bits // 8), 9) and not tokens.planes.flags.writeable
        assert (len(tokens), tokens.grid, tokens.stride, tokens.bits_per_image) == (9, (3, 4), 1, 12 * bits)
        np.testing.assert_array_equal(tokens.codes([2, 0, 2]), codes[[2, 0, 2]])
        np.testing.assert_array_equal(tokens.planes, codes.transpose(1, 2, 3, 0))

    def test_a_store_in_memory_copies_what_it_is_given(self):
        codes = random_codes(n=1)
        tokens = Tokens.from_codes(codes, 11)
        before = tokens.planes.copy()
        codes[:] = 0
        np.testing.assert_array_equal(tokens.planes, before)

    def test_the_id_depends_on_tokens_bits_corpus_and_autoencoder(self, tmp_path):
        codes = random_codes()
        tokens = Tokens.from_codes(codes, 11, corpus_hash="a")
        assert tokens.save(tmp_path / "store").id == tokens.id == open_tokens(tmp_path / "store").id
        changed = codes.copy()
        changed[0, 0, 0, 0] ^= 1
        others = [
            Tokens.from_codes(changed, 11, corpus_hash="a"),
            Tokens.from_codes(codes, 12, corpus_hash="a"),
            Tokens.from_codes(codes, 11, corpus_hash="b"),
            Tokens.from_codes(codes, 11, corpora.autoencoder(bits=11), "a"),
        ]
        assert len({tokens.id, *(other.id for other in others)}) == 5

    def test_a_part_is_of_its_images_alone(self):
        codes = random_codes()
        part = Tokens.from_codes(codes, 11).part([7, 1], "hash")
        np.testing.assert_array_equal(part.codes([0, 1]), codes[[7, 1]])
        assert part.corpus_hash == "hash" and part.path is None

    def test_pickles(self, stored):
        _, tokens = stored
        opened, copied = (pickle.loads(pickle.dumps(one)) for one in (tokens, tokens.part(range(len(tokens)))))
        assert opened.id == tokens.id and isinstance(opened.planes, np.memmap)
        np.testing.assert_array_equal(copied.planes, tokens.planes)
        assert not copied.planes.flags.writeable and len(pickle.dumps(tokens)) < 1000

    def test_without_an_autoencoder_nothing_is_decoded(self):
        tokens = Tokens.from_codes(random_codes(), 11)
        with pytest.raises(ValueError, match="tokens must have an autoencoder to be decoded, got Tokens"):
            tokens.decode(random_codes())

    @pytest.mark.parametrize(
        ("codes", "bits", "error", "message"),
        [
            (random_codes(), 0, ValueError, "bits must be in 1…64, got 0"),
            (random_codes(), 65, ValueError, "bits must be in 1…64, got 65"),
            (random_codes(), "8", TypeError, "bits must be a whole number, got '8'"),
            (random_codes(), 8, ValueError, r"codes must be of shape (B, h, w, 1) for 8 bits, got (9, 3, 4, 2)"),
            (random_codes()[0], 11, ValueError, r"codes must be of shape (B, h, w, 2) for 11 bits, got (3, 4, 2)"),
            (random_codes().astype(int), 11, TypeError, "codes must be of dtype uint8, got int64"),
            (random_codes(bits=12) | 0x08, 11, ValueError, "codes must be 0 in the bits after the last of 11"),
            (random_codes(n=0), 11, ValueError, "planes must be of shape (h, w, 2, N) for 11 bits, none of them 0"),
        ],
    )
    def test_bad_codes_are_refused(self, codes, bits, error, message):
        with pytest.raises(error, match=re.escape(message)):
            Tokens.from_codes(codes, bits)

    def test_refuses_another_autoencoder(self):
        with pytest.raises(ValueError, match=r"autoencoder must be one of 11 bits, got Autoencoder\(.*bits=8\)"):
            Tokens.from_codes(random_codes(), 11, corpora.autoencoder(bits=8))


class TestEncodeTokens:
    def test_a_store_holds_what_the_autoencoder_makes_of_each_image(self, stored):
        corpus, tokens = stored
        expected = corpora.autoencoder(bits=11).encode(np.asarray(corpus.images))
        np.testing.assert_array_equal(tokens.codes(range(len(corpus))), expected)
        assert (tokens.grid, tokens.stride, tokens.corpus_hash) == ((8, 8), 2, corpus.hash)
        np.testing.assert_array_equal(tokens.decode(expected[:3]), tokens.autoencoder.decode(expected[:3]))

    def test_the_block_size_has_no_influence(self, stored, tmp_path, monkeypatch):
        corpus, tokens = stored
        monkeypatch.setattr(module, "BLOCK", 7)
        model = corpora.autoencoder(bits=11)
        streamed = encode_tokens(corpus, model, tmp_path / "tokens", progress=False)
        assert {path.name for path in (tmp_path / "tokens").iterdir()} == {
            *("autoencoder.safetensors", "manifest.json", "planes.npy"),
        }
        for name in ("autoencoder.safetensors", "manifest.json", "planes.npy"):
            assert (tmp_path / "tokens" / name).read_bytes() == (tokens.path / name).read_bytes()
        assert encode_tokens(corpus, model, progress=False).id == streamed.id == tokens.id

    def test_an_interruption_leaves_nothing(self, stored, tmp_path, monkeypatch):
        corpus, _ = stored
        model = corpora.autoencoder()
        real, calls = type(model).encode, []

        def interrupted(self, images, **options):
            calls.append(len(images))
            if len(calls) == 3:
                raise KeyboardInterrupt
            return real(self, images, **options)

        monkeypatch.setattr(module, "BLOCK", 7)
        monkeypatch.setattr(type(model), "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            encode_tokens(corpus, model, tmp_path / "deep" / "tokens", progress=False)
        assert calls == [7, 7, 7] and list(tmp_path.iterdir()) == []

    def test_refuses_what_is_there(self, stored):
        corpus, tokens = stored
        with pytest.raises(FileExistsError, match="out must be a path that does not exist yet"):
            encode_tokens(corpus, corpora.autoencoder(), tokens.path, progress=False)


class TestLoadTokens:
    def test_auto_is_the_corpuss_own(self, stored):
        corpus, tokens = stored
        assert load_tokens("auto", corpus).path == tokens.path
        assert load_tokens(tokens, corpus) is tokens
        assert load_tokens(tokens.path, corpus).id == tokens.id

    def test_auto_makes_them_once_of_the_corpuss_own_autoencoder(self, digits, tmp_path, monkeypatch):
        monkeypatch.setenv("NPGEN_HOME", str(tmp_path / "home"))
        corpus = digits.save(tmp_path / "digits")
        corpora.autoencoder().save(corpus.path / "autoencoder.safetensors")
        made = load_tokens("auto", corpus, progress=False)
        assert made.path.parent == tmp_path / "home" / "tokens"
        monkeypatch.setattr(module, "encode_tokens", None)
        assert load_tokens("auto", corpus).id == made.id

    def test_refuses_those_of_another_corpus(self, stored, digits):
        _, tokens = stored
        other = npgen.Corpus.from_arrays(digits.images[::-1].copy())
        with pytest.raises(ValueError, match="tokens must be tokens of corpus 'arrays', 60 images of hash"):
            load_tokens(tokens, other)
        with pytest.raises(ValueError, match="got .Tokens.9 images.* of an unknown one"):
            load_tokens(Tokens.from_codes(random_codes(), 11), other)

    def test_refuses_an_autoencoder_of_other_images(self, digits, colours):
        tokens = encode_tokens(digits, corpora.autoencoder(), progress=False)
        same_count = npgen.Corpus.from_arrays(colours.images[: len(digits)])
        mixed = Tokens(tokens.planes, tokens.bits, tokens.autoencoder, same_count.hash)
        with pytest.raises(ValueError, match="autoencoder must be one for images of 12×12×3, as corpus 'arrays' has"):
            load_tokens(mixed, same_count)

    @pytest.mark.parametrize(
        ("spec", "error", "message"),
        [
            (3, TypeError, "tokens must be of type str or PathLike or Tokens, got int"),
            ("/nowhere", FileNotFoundError, "tokens must be the folder of a token store"),
            ("auto", ValueError, "autoencoder must be given, as corpus 'arrays' has none: train one with"),
        ],
    )
    def test_other_folders_are_refused(self, digits, spec, error, message):
        with pytest.raises(error, match=re.escape(message)):
            load_tokens(spec, digits)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"format": "npgen-run"}, "format in .* must be 'npgen-tokens', got 'npgen-run'"),
            ({"version": 2}, "version in .* must be 1 .a newer npgen may read this store., got 2"),
            ({"bits": True}, "bits in .* must be a whole number in 1…64, got True"),
            ({"bits": 99}, "bits in .* must be a whole number in 1…64, got 99"),
            ({"shape": [8, 8, 60]}, "shape in .* must be .h, w, Y, N., all positive"),
            ({"shape": [8, 8, 1, 60]}, "shape in .* must be .h, w, Y, N., all positive, with Y bytes for the bits"),
            ({"shape": [8, 8, 2, 61]}, r"planes.npy must be an array of shape \(8, 8, 2, 61\)"),
            ({"sha256": "0"}, "must have sha256 0, got .*: it was altered; encode it again"),
            ({"sha256": None}, "sha256 in .* must be a hash, got None"),
            ({"corpus": 1}, "corpus in .* must be a hash, got 1"),
            ({"autoencoder": 1}, "autoencoder in .* must be a hash or null, got 1"),
            ({"autoencoder": "0"}, "autoencoder in .* must be the one of id 0, got"),
        ],
    )
    def test_refuses_a_damaged_store(self, stored, tmp_path, change, message):
        _, tokens = stored
        folder = tmp_path / "store"
        tokens.save(folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | change))
        with pytest.raises(ValueError, match=message):
            open_tokens(folder)

    def test_refuses_altered_planes(self, stored, tmp_path):
        _, tokens = stored
        folder = tmp_path / "store"
        tokens.save(folder)
        data = bytearray((folder / "planes.npy").read_bytes())
        data[-1] ^= 1
        (folder / "planes.npy").write_bytes(data)
        with pytest.raises(ValueError, match="it was altered"):
            open_tokens(folder)
        (folder / "planes.npy").write_bytes(data[:-1])
        with pytest.raises(ValueError, match="truncated or altered"):
            open_tokens(folder)

    def test_a_pickle_of_an_exchanged_store_is_refused(self, stored, tmp_path):
        _, tokens = stored
        pickled = pickle.dumps(tokens.save(tmp_path / "store"))
        (tmp_path / "store").rename(tmp_path / "old")
        Tokens.from_codes(random_codes(), 11).save(tmp_path / "store")
        with pytest.raises(ValueError, match="must be the token store of id .*: it was exchanged"):
            pickle.loads(pickled)


def test_commands(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus = digits.save(tmp_path / "digits")
    recipe = {"width": 8, "blocks": 1, "epochs": 1, "settling_epochs": 1, "kernel": 5}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))

    def run(command):
        result = CliRunner().invoke(app, [*command.split(), "--quiet", "--device", "cpu"])
        return result.exit_code, result.output

    code, output = run("tokens train digits --recipe recipe.json --bits 5")
    assert code == 0 and "320 bits per image" in output and output.strip().endswith("digits/autoencoder.safetensors")
    code, output = run("tokens encode digits")
    assert code == 0 and "60 images, 8x8 tokens of 5 bits" in output
    tokens = load_tokens("auto", npgen.load_corpus("digits"))
    assert tokens.path == corpus.path / "tokens" and tokens.autoencoder.metadata["recipe"]["bits"] == 5
    code, output = run("tokens encode digits")
    assert code == 2 and "npgen: out must be a path that does not exist yet" in output
    code, output = run("tokens train digits --stride 3")
    assert code == 2 and "npgen: stride must be a divisor of the images' sides 16 and 16, got 3" in output
