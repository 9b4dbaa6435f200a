"""What a run is: read, compared and written in one place."""

import dataclasses

import pytest

import npgen
from npgen.runs import RunFacts, differences

FACTS = RunFacts("full", npgen.Config(window=7), 5, 10, 40, "digits", "abc", "encoder")


def manifest(facts=FACTS, **changes):
    return {**facts.to_json(), "shards": [], **changes}


def test_a_manifest_gives_the_facts_back():
    assert RunFacts.from_json("run", manifest()) == FACTS
    tokens = dataclasses.replace(FACTS, model="local", config=npgen.Config(), encoder_id=None, tokens_id="tokens")
    assert tokens.to_json()["version"] == 3 and FACTS.to_json()["version"] == 2
    assert RunFacts.from_json("run", manifest(tokens)) == tokens


def test_settings_that_a_manifest_lacks_are_those_of_the_version_that_wrote_it():
    config = RunFacts.from_json("run", manifest(config={"window": 7})).config
    assert (config.max_share, config.query_expansion, config.select, config.seams) == (None, 0, 1, False)
    assert config.gaussian_sigma == 7 / 6.4
    assert RunFacts.from_json("run", manifest(config={"window": 7, "sigma": 2.0})).config.sigma == 2
    present = RunFacts.from_json("run", manifest(config={"window": 7, "max_share": 0.33}))
    assert present == FACTS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "zip"}, "run must be a folder of format 'npgen-run', got 'zip'"),
        ({"version": 0}, r"run must be of format version 1 to 3 \(a newer npgen may read it\), got 0"),
        ({"seed": True}, "run must have a complete manifest, got one in which seed must be a whole number, got True"),
        ({"n": -1}, "got one in which n must be in 0…2⁶⁴ − 1, got -1"),
        ({"model": "huge"}, "got one in which model must be one of 'full', "),
        ({"tokens": 3}, "got one in which tokens_id must be of type str or None, got int"),
        ({"corpus": {"name": "x"}}, "run must be of a corpus with name and hash, got {'name': 'x'}"),
    ],
)
def test_a_manifest_that_is_none_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        RunFacts.from_json("run", manifest(**changes))


def test_differences_are_named_with_both_values():
    other = dataclasses.replace(FACTS, config=npgen.Config(window=9), seed=6, corpus_hash="def")
    found = differences(FACTS.to_json(), other.to_json())
    assert found == [("config: window", 7, 9), ("seed", 5, 6), ("corpus: hash", "abc", "def")]
    assert differences(FACTS.to_json(), FACTS.to_json()) == []
    assert differences({"a": {"b": 1}}, {"a": {"c": 2}}) == [("a: b", 1, None), ("a: c", None, 2)]


def test_a_part_is_of_the_same_run():
    part = FACTS.part(12, 3)
    assert (part.first, part.n) == (12, 3)
    assert FACTS.part(10, 40) == FACTS


@pytest.mark.parametrize(
    ("model", "config", "tokens", "size"),
    [
        ("full", npgen.Config(), None, 1024),
        ("full", npgen.Config(tolerance="corpus"), None, 64),
        ("local", npgen.Config(), None, 64),
        ("local", npgen.Config(), "tokens", 1024),
        ("texture", npgen.Config(), "tokens", 64),
    ],
)
def test_slow_runs_have_small_shards(model, config, tokens, size):
    facts = dataclasses.replace(FACTS, model=model, config=config, encoder_id=None, tokens_id=tokens)
    assert facts.shard_size == size
