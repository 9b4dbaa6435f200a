"""Options that come in groups: those of `Config` from one table, and those that all studies share."""

import dataclasses
import json

import pytest
import typer
from typer.testing import CliRunner

import npgen
from npgen.cli import app
from npgen.cli.option_groups import CONFIG_OPTIONS, StudyOptions, takes_config, takes_study

# Per field of `Config`, a value that is not its default, as words of a command line.
WORDS = {
    "window": "5",
    "sigma": "1.5",
    "locality": "2",
    "epsilon": "0.25",
    "tolerance": "corpus",
    "k_min": "2",
    "quota": "7",
    "max_share": "0.5",
    "max_copy": "0.25",
    "shortlist": "9",
    "semantic": "threshold",
    "candidates": "all",
    "anchor_weight": "0.75",
    "query_expansion": "5",
    "select": "3",
    "semantic_weight": "50",
    "levels": "2",
    "coarse_weight": "0.5",
    "seed_size": "4",
    "seed_at": "1 2",
    "sweeps": "1",
    "size": "20 24",
    "stage_pixels": "3",
    "gamma": "4",
    "metric": "l2",
    "order": "raster",
    "draw": "histogram",
    "flip": "0.01",
}


def received(command, *words):
    """Run a command of one verb, and return what its function was called with."""
    found = {}
    verb = typer.Typer()
    verb.command()(command(found))
    result = CliRunner().invoke(verb, list(words))
    assert result.exit_code == 0, (result.output, result.exception)
    return found


def with_config(*fields):
    def command(found):
        @takes_config("Settings.", *fields)
        def verb(*, n: int = 1, config: npgen.Config) -> None:
            found.update(n=n, config=config)

        return verb

    return command


def test_every_setting_has_an_option_that_sets_it():
    names = [field.name for field in dataclasses.fields(npgen.Config)]
    assert list(CONFIG_OPTIONS) == names
    words = ["--include-seed-image", "--seams"]
    for name, text in WORDS.items():
        words += [f"--{name.replace('_', '-')}", *text.split()]
    config = received(with_config(*names), *words, "--n", "3")["config"]
    default = npgen.Config()
    assert all(getattr(config, name) != getattr(default, name) for name in names)
    assert config.size == (20, 24) and config.exclude_seed_image is False


def test_without_options_settings_have_their_defaults():
    assert received(with_config(*CONFIG_OPTIONS)) == {"n": 1, "config": npgen.Config()}


def test_options_override_the_file(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"window": 5, "locality": 1}))
    found = received(with_config("locality"), "--config", str(tmp_path / "config.json"), "--locality", "0")
    assert found["config"] == npgen.Config(window=5, locality=0)


def test_a_command_has_the_options_it_names_and_no_others():
    verb = typer.Typer()
    verb.command()(with_config("shortlist")({}))
    result = CliRunner().invoke(verb, ["--window", "5"])
    assert result.exit_code == 2 and "No such option" in result.output


def test_studies_share_their_options(digits, tmp_path):
    digits.save(tmp_path / "real")

    def command(found):
        @takes_study
        @takes_config("Settings.")
        def verb(*, config: npgen.Config, study: StudyOptions) -> None:
            found.update(study.arguments())

        return verb

    assert received(command) == dataclasses.asdict(StudyOptions())
    found = received(command, "--heldout", str(tmp_path / "real"), "--network", "inception", "--batch-size", "3", "-q")
    assert found.pop("heldout").hash == digits.hash
    assert (found["network"], found["batch_size"], found["quiet"]) == ("inception", 3, True)


@pytest.mark.parametrize("verb", ["ablate", "sweep", "gamma-study"])
def test_every_study_shows_them(verb):
    text = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).output
    for field in dataclasses.fields(StudyOptions):
        assert f"--{field.name.replace('_', '-')}" in text


def test_a_preset_is_what_file_and_options_replace(tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"quota": 6, "window": 7}')
    words = ["--preset", "recombination", "--config", str(file), "--window", "5"]
    config = received(with_config("window"), *words)["config"]
    preset = npgen.Config.preset("recombination")
    assert config == dataclasses.replace(preset, quota=6, window=5)
    assert received(with_config("window"), "--preset", "quality")["config"] == npgen.Config()


def test_unknown_presets_are_named():
    verb = typer.Typer()
    verb.command()(with_config("window")({}))
    error = CliRunner().invoke(verb, ["--preset", "fast"]).exception
    assert str(error) == "preset must be one of 'quality', 'recombination', 'texture', got 'fast'"
