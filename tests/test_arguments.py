"""Errors of public functions for arguments of wrong types and values."""

import dataclasses
import re

import numpy as np
import pytest
from corpora import with_facts

import npgen
from npgen.encoders.recipe import Recipe

CONFIG = npgen.Config(window=5, shortlist=5)
SAMPLES = "samples must be of type Samples, got str"
EITHER = "samples must be of type Samples or ScoreSamples, got str"
CORPUS = "corpus must be of type Corpus, got NoneType"


@pytest.fixture(scope="module")
def samples(digits):
    return npgen.generate(digits, 2, "local", CONFIG, progress=False)


def pool(corpus, **changes):
    frame = corpus.images.shape[1:]
    arguments = {"canvas": np.zeros(frame, np.uint8), "known": np.ones(frame[:2], np.bool_), "pixel": (1, 1)} | changes
    return npgen.candidate_pool(corpus, **arguments)


CALLS = {
    "entropy, samples": (lambda s, c: npgen.entropy("x", c), EITHER),
    "entropy, corpus": (lambda s, c: npgen.entropy(s, None), CORPUS),
    "part_whole": (lambda s, c: npgen.part_whole("x", c), EITHER),
    "part_whole, window": (lambda s, c: npgen.part_whole(s, c, "x"), "window must be a whole number, got 'x'"),
    "explain": (lambda s, c: npgen.explain("x", c, 0, (0, 0)), SAMPLES),
    "report": (lambda s, c: npgen.report("x", c, "out"), "samples must be of type Samples, got str"),
    "report, corpus": (lambda s, c: npgen.report(s, None, "out"), CORPUS),
    "evaluate": (lambda s, c: npgen.evaluate("x", c), EITHER),
    "evaluate, heldout": (
        lambda s, c: npgen.evaluate(s, c, heldout=1),
        "heldout must be of type Corpus, got int",
    ),
    "evaluate, seed": (lambda s, c: npgen.evaluate(s, c, seed=0.5), "seed must be a whole number, got 0.5"),
    "candidate_pool": (lambda s, c: npgen.candidate_pool(None, 0, 0, 0), CORPUS),
    "candidate_pool, config": (
        lambda s, c: pool(c, config="x"),
        "config must be of type Config or None, got str",
    ),
    "candidate_pool, pixel": (lambda s, c: pool(c, pixel=3), "pixel must be whole numbers (y, x), got 3"),
    "candidate_pool, y": (lambda s, c: pool(c, pixel=(1, 0.5)), "pixel must be whole numbers (y, x), got (1, 0.5)"),
    "fill_order": (
        lambda s, c: npgen.fill_order(8, 8, "x", 3),
        "seed_rect must be whole numbers (y, x, height, width), got 'x'",
    ),
    "fill_order, height": (
        lambda s, c: npgen.fill_order("8", 8, (0, 0, 1, 1), 3),
        "height must be a whole number, got '8'",
    ),
    "embed": (
        lambda s, c: npgen.embed(c, "pixels"),
        "encoder must be of type Encoder or PixelEncoder or Smt",
    ),
    "embed, corpus": (lambda s, c: npgen.embed(None, "pixels"), CORPUS),
    "load_encoder": (lambda s, c: npgen.load_encoder("auto", None), CORPUS),
    "load_corpus": (lambda s, c: npgen.load_corpus(b"x"), "corpus must be of type str, got bytes"),
    "build_corpus": (
        lambda s, c: npgen.build_corpus("x", options=1),
        "options must be of type BuildOptions or None, got int",
    ),
    "from_arrays, heldout": (
        lambda s, c: npgen.Corpus.from_arrays(c.images, heldout=c.images),
        "heldout must be of type Corpus, got ndarray",
    ),
    "from_arrays, name": (lambda s, c: npgen.Corpus.from_arrays(c.images, name=1), "name must be of type str, got int"),
    "from_arrays, source": (
        lambda s, c: npgen.Corpus.from_arrays(c.images, source="x"),
        "source must be of type dict, got str",
    ),
    "Encoder": (lambda s, c: npgen.Encoder(1, {}), "architecture must be of type Architecture, got int"),
    "Encoder, tensors": (
        lambda s, c: npgen.Encoder(Recipe().architecture(1), None),
        "tensors must be of type dict, got NoneType",
    ),
    "Encoder, tensor": (
        lambda s, c: npgen.Encoder(Recipe().architecture(1), dict.fromkeys(Recipe().architecture(1).shapes(), 0)),
        "tensor 'mean' must be of type ndarray, got int",
    ),
    "encode": (
        lambda s, c: npgen.PixelEncoder(8, 8, 1).encode(None),
        "images must be of type ndarray, got NoneType",
    ),
    "encode, known": (
        lambda s, c: npgen.PixelEncoder(*c.images.shape[1:]).encode(c.images, known=1),
        "known must be of type ndarray, got int",
    ),
    "encode, threads": (
        lambda s, c: npgen.PixelEncoder(*c.images.shape[1:]).encode(c.images, threads="2"),
        "threads must be a whole number, got '2'",
    ),
    "PixelEncoder": (lambda s, c: npgen.PixelEncoder(8, 8.5, 1), "width must be a whole number, got 8.5"),
    "sweep": (
        lambda s, c: npgen.sweep(c, "out", 3, encoder="pixels"),
        "grid must be of type Mapping, got int",
    ),
    "ablate": (lambda s, c: npgen.ablate(None, "out"), CORPUS),
    "ablate, counts": (
        lambda s, c: npgen.ablate(c, "out", encoder="pixels", counts=3),
        "counts must be of type Mapping, got int",
    ),
    "samples[]": (lambda s, c: s[0], "part must be of type slice, got int"),
    "samples, trace": (lambda s, c: dataclasses.replace(s, trace=1), "trace must be of type Trace, got int"),
    "samples, config": (lambda s, c: with_facts(s, config={}), "config must be of type Config, got dict"),
    "samples, seed": (lambda s, c: with_facts(s, seed="1"), "seed must be a whole number, got '1'"),
    "samples, images": (
        lambda s, c: dataclasses.replace(s, images=s.images[0]),
        "images must be a 4-dimensional array of uint8, got uint8 of shape (16, 16, 1)",
    ),
    "trace": (
        lambda s, c: dataclasses.replace(s.trace, y=s.trace.y.astype(np.int64)),
        "trace.y must be a 3-dimensional array of int32, got int64 of shape (2, 16, 16)",
    ),
    "trace, list": (
        lambda s, c: dataclasses.replace(s.trace, x=[1]),
        "trace.x must be a 3-dimensional array of int32, got list",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_type_is_named(samples, digits, name):
    call, message = CALLS[name]
    with pytest.raises(TypeError, match=re.escape(message)):
        call(samples, digits)


VALUES = {
    "threads": (
        lambda s, c: npgen.PixelEncoder(*c.images.shape[1:]).encode(c.images, threads=1025),
        "threads must be in 1…1024, got 1025",
    ),
    "frame": (
        lambda s, c: npgen.fill_order(2**20, 2**20, (0, 0, 1, 1), 3),
        "frame must be of at most 268435456 pixels, got '1048576×1048576'",
    ),
    "source": (
        lambda s, c: npgen.Corpus.from_arrays(c.images, source={"x": float("nan")}),
        "source must be a JSON-able dict, got one that can't be written: ",
    ),
    "name": (lambda s, c: npgen.Corpus.from_arrays(c.images, name="\ud800"), "name must be one path component, got"),
    "classes": (
        lambda s, c: npgen.Corpus.from_arrays(c.images, c.labels, ["a", "b", "\ud800"]),
        "classes must be Unicode text, got ",
    ),
    "samples, anchor": (
        lambda s, c: dataclasses.replace(s, anchor=s.anchor[:1]),
        "anchor must be of shape (2,), as the others, got (1,)",
    ),
    "samples, model": (lambda s, c: with_facts(s, model="x"), "model must be one of 'full', "),
    "samples, first": (
        lambda s, c: with_facts(s, first=-1),
        "first must be in 0…2⁶⁴ − 1, got -1",
    ),
    "samples, corpus": (
        lambda s, c: with_facts(s, corpus_name="../secret"),
        "name must be one path component, got '../secret'",
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_wrong_value_is_named(samples, digits, name):
    call, message = VALUES[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call(samples, digits)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("image_id", 60, "trace.image_id must be in 0…59 (see npgen verify), got '0…60'"),
        ("image_id", -1, "trace.image_id must be in 0…59"),
        ("y", 16, "trace.y must be in 0…15"),
        ("x", -5, "trace.x must be in 0…15"),
        ("anchor", 77, "anchor must be in 0…59"),
    ],
)
@pytest.mark.parametrize("use", [npgen.entropy, npgen.part_whole, npgen.Samples.replay, npgen.Explainer])
def test_addresses_outside_the_corpus_are_refused(samples, digits, part, value, message, use):
    forged = getattr(samples if part == "anchor" else samples.trace, part) % 5
    forged.flat[0] = 0
    forged.flat[-1] = value
    altered = (
        dataclasses.replace(samples, anchor=forged)
        if part == "anchor"
        else dataclasses.replace(samples, trace=dataclasses.replace(samples.trace, **{part: forged}))
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        use(altered, digits)
