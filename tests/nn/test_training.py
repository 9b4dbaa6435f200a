"""Trainings: epochs and checkpoints, and that an interrupted one comes to the same network as an uninterrupted one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from lines import LineRecipe, Lines, LineTraining

import npgen
from npgen.nn import Limits, training
from npgen.nn.checkpoints import write_checkpoint

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus():
    """14 images, each of one value: its number times 18."""
    values = 18 * np.arange(14, dtype=np.uint8)[:, None, None, None]
    return npgen.Corpus.from_arrays(np.broadcast_to(values, (14, 2, 2, 1)))


def trained(corpus, out, recipe=None, *, resume=True, progress=False, **limits):
    recipe, options = recipe or LineRecipe(), {"resume": resume, "progress": progress}
    return LineTraining.to_file(corpus, out, recipe, "cpu", **options, limits=Limits(**limits))


def interrupted(monkeypatch, corpus, out, after, **limits):
    """Train until the checkpoint of an epoch is written."""
    save = LineTraining.save

    def killed(self, path):
        save(self, path)
        if self.epoch == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LineTraining, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(corpus, out, **limits)


def test_training_learns_and_writes_network_and_provenance(corpus, tmp_path):
    recipe = LineRecipe(epochs=60)
    network = trained(corpus, tmp_path / "new" / "a.safetensors", recipe)
    module, _ = network.module("cpu")
    assert abs(module(torch.tensor([[0.3]])).item() - 0.3) < 0.02
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.json", "a.safetensors"]
    provenance = json.loads((tmp_path / "new" / "a.json").read_text())
    assert provenance["id"] == network.id == Lines.load(tmp_path / "new" / "a.safetensors").id
    assert provenance["recipe"] == recipe.to_json() and provenance["device"] == "cpu"
    assert provenance["seconds"] > 0 and provenance["torch"] == torch.__version__


def test_an_epoch_shows_images_once_in_full_batches(corpus):
    state = LineTraining(corpus, LineRecipe(), CPU)
    assert (state.batch_size, state.steps_per_epoch, state.steps) == (4, 3, 12)
    with training.tqdm(disable=True) as bar:
        state.run_epoch(bar)
        state.run_epoch(bar)
    assert [len(batch) for batch in state.batches] == [4] * 6
    for epoch in (state.batches[:3], state.batches[3:]):
        values = [value for batch in epoch for value in batch]
        assert len(set(values)) == 12 and values != sorted(values)
        assert all(batch == sorted(batch) for batch in epoch)  # a memory map is read in order
    assert state.batches[:3] != state.batches[3:]
    assert state.epoch == 2 and len(state.losses) == 2 and state.seconds > 0
    assert state.rates == pytest.approx([state.learning_rate(step) for step in range(6)])
    small = LineTraining(npgen.Corpus.from_arrays(corpus.images[:3]), LineRecipe(), CPU)
    assert (small.batch_size, small.steps_per_epoch) == (3, 1)


@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_training_comes_to_the_same_network(corpus, tmp_path, monkeypatch, after):
    expected = trained(corpus, tmp_path / "whole.safetensors")
    out = tmp_path / "a.safetensors"
    interrupted(monkeypatch, corpus, out, after)
    assert not out.exists() and (tmp_path / "a.safetensors.checkpoint").exists()
    assert trained(corpus, out).id == expected.id
    assert not (tmp_path / "a.safetensors.checkpoint").exists()


@pytest.fixture
def clock(monkeypatch):
    """A clock on which every step takes a second; returns the steps' batches and rates."""
    taken, step = [], LineTraining.step

    def ticking(self, images, generator):
        taken.append((self.place, self.optimiser.param_groups[0]["lr"]))
        return step(self, images, generator)

    monkeypatch.setattr(LineTraining, "step", ticking)
    monkeypatch.setattr(training.time, "monotonic", lambda: float(len(taken)))
    return taken


@pytest.mark.parametrize("seconds", [5.0, 10.0, 24.0])
def test_a_time_limit_stretches_the_schedule(corpus, tmp_path, clock, seconds):
    network = trained(corpus, tmp_path / "a.safetensors", seconds=seconds)  # 12 steps, had it no limit
    expected = [int(12 * second / seconds) for second in range(int(seconds))]
    assert [place for place, _ in clock] == expected
    rates = LineTraining(corpus, LineRecipe(), CPU)
    assert [rate for _, rate in clock] == [rates.learning_rate(place) for place in expected]
    assert (network.metadata["time_limit"], network.metadata["epochs"]) == (seconds, -(-len(expected) // 3))
    assert json.loads((tmp_path / "a.json").read_text())["seconds"] == seconds


def test_a_time_too_short_is_one_step(corpus, tmp_path, clock):
    trained(corpus, tmp_path / "a.safetensors", seconds=1e-9)
    assert [place for place, _ in clock] == [0]


def test_a_training_with_a_time_limit_goes_on_where_it_was(corpus, tmp_path, monkeypatch, clock):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 6.0)
    out = tmp_path / "a.safetensors"
    interrupted(monkeypatch, corpus, out, 2, seconds=10.0)  # every second epoch of 3 steps is saved
    assert len(clock) == 6
    for seconds in (None, 9.0):
        with pytest.raises(ValueError, match=r"seconds must be those that '.*' was trained for, 10.0 \(.*\), got "):
            trained(corpus, out, seconds=seconds)
    trained(corpus, out, seconds=10.0)
    assert [place for place, _ in clock] == [int(1.2 * second) for second in range(10)]
    with pytest.raises(ValueError, match=r"seconds must be those that '.*' was trained for, 10.0 \(.*\), got None"):
        trained(corpus, out)


def test_snapshots_are_left_by_a_training_that_is_cut_off(corpus, tmp_path, monkeypatch, clock):
    out, snapshot = tmp_path / "a.safetensors", tmp_path / "a.snapshot.safetensors"
    interrupted(monkeypatch, corpus, out, 2, snapshot_every=3.0)  # after the second epoch's checkpoint
    first = Lines.load(snapshot)
    assert json.loads(snapshot.with_suffix(".json").read_text())["seconds"] == 3.0
    interrupted(monkeypatch, corpus, out, 4, snapshot_every=3.0)
    assert Lines.load(snapshot).id != first.id
    network = trained(corpus, out, snapshot_every=3.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.safetensors"]
    assert network.id == trained(corpus, tmp_path / "b.safetensors").id  # they change nothing


@pytest.mark.parametrize("name", ["seconds", "snapshot_every"])
def test_limits_are_checked(name):
    with pytest.raises(ValueError, match=f"{name} must be a number above 0, got 0"):
        Limits(**{name: 0})


def test_files_from_before_a_setting_was_added_are_taken(corpus, tmp_path):
    out = tmp_path / "a.safetensors"
    network = trained(corpus, out)
    del network.metadata["recipe"]["precision"]
    network.save(out)
    assert trained(corpus, out).id == network.id
    with pytest.raises(ValueError, match=r"got \{'precision': 'bfloat16'\}"):
        trained(corpus, out, replace(LineRecipe(), precision="bfloat16"))


def test_resume_false_starts_anew(corpus, tmp_path, monkeypatch):
    out = tmp_path / "a.safetensors"
    expected = trained(corpus, out)
    begun = []
    monkeypatch.setattr(LineTraining, "restore", lambda *_: begun.append("restored"))
    (tmp_path / "a.safetensors.checkpoint").write_bytes(b"nothing")
    other = replace(LineRecipe(), seed=1)
    assert trained(corpus, out, other, resume=False).id != expected.id and not begun
    assert trained(corpus, out, resume=False).id == expected.id and not begun


def test_a_finished_network_is_returned_as_it_is(corpus, tmp_path, monkeypatch):
    out = tmp_path / "a.safetensors"
    expected, before = trained(corpus, out), out.read_bytes()
    monkeypatch.setattr(LineTraining, "__init__", None)  # nothing is begun
    assert trained(corpus, out).id == expected.id and out.read_bytes() == before
    with pytest.raises(ValueError, match=r"recipe must be the one that '.*' was trained with .*, got \{'seed': 5\}"):
        trained(corpus, out, replace(LineRecipe(), seed=5))
    other = npgen.Corpus.from_arrays(corpus.images[:9])
    with pytest.raises(ValueError, match="corpus must be the one that '.*' was trained on, "):
        trained(other, out)


def test_checkpoints_of_other_trainings_are_refused(corpus, tmp_path, monkeypatch):
    out = tmp_path / "a.safetensors"
    interrupted(monkeypatch, corpus, out, 1)
    with pytest.raises(ValueError, match="recipe must be the one that .* was trained with"):
        trained(corpus, out, replace(LineRecipe(), rate=0.2))
    with pytest.raises(ValueError, match="corpus must be the one that .* was trained on"):
        trained(npgen.Corpus.from_arrays(corpus.images[:9]), out)
    monkeypatch.setattr(LineTraining, "version", 4)
    with pytest.raises(ValueError, match=r"checkpoint must be of version 4 \(delete it, .*\), got '.* of version 3'"):
        trained(corpus, out)


@pytest.mark.parametrize("data", [b"", b"text", b"PK\3\4 and no more"])
def test_damaged_checkpoints_are_refused(corpus, tmp_path, data):
    (tmp_path / "a.safetensors.checkpoint").write_bytes(data)
    with pytest.raises(ValueError, match="checkpoint must be one that npgen wrote; delete it, or pass resume=False"):
        trained(corpus, tmp_path / "a.safetensors")


@pytest.mark.parametrize("state", [{}, {"module": {}, "optimiser": {}, "epoch": 1, "seconds": 0.0}])
def test_incomplete_checkpoints_are_refused(corpus, tmp_path, state):
    checkpoint = tmp_path / "a.safetensors.checkpoint"
    write_checkpoint(checkpoint, LineTraining.version, LineRecipe().to_json(), corpus, state)
    with pytest.raises(ValueError, match="checkpoint must be whole; delete it, or pass resume=False"):
        trained(corpus, tmp_path / "a.safetensors")


def test_the_progress_bar_shows_what_is_left(corpus, tmp_path, monkeypatch, capfd):
    out = tmp_path / "a.safetensors"
    interrupted(monkeypatch, corpus, out, 2)
    assert capfd.readouterr() == ("", "")
    trained(corpus, out, progress=True)
    shown = capfd.readouterr().err
    assert "lines:  50%" in shown and "12/12" in shown and "epoch=4, loss=" in shown


def test_weights_path():
    assert training.weights_path("a/b.safetensors").name == "b.safetensors"
    with pytest.raises(ValueError, match="out must be a path that ends in .safetensors, got 'a.pt'"):
        training.weights_path("a.pt")


def test_channel_means_are_exact():
    images = np.random.default_rng(0).integers(0, 256, (2500, 3, 5, 3), np.uint8)
    expected = images.reshape(-1, 3).sum(0, dtype=np.int64) / (255 * 2500 * 15)
    found = training.channel_mean(images)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_random_numbers_depend_on_seed_and_epoch_alone():
    def numbers(seed, epoch):
        return torch.rand(4, generator=training.epoch_generator(seed, epoch)).tolist()

    assert numbers(3, 2) == numbers(3, 2)
    assert len({tuple(numbers(*pair)) for pair in ((3, 2), (2, 3), (3, 3), (0, 0))}) == 4


def test_seeding_leaves_the_random_numbers_of_others_alone():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with training.seeded(1):
        first = torch.rand(3)
    assert torch.equal(torch.rand(2), expected)
    with training.seeded(1):
        assert torch.equal(torch.rand(3), first)


def test_gradients_are_clipped_where_asked():
    for clipped, length in ((False, 3.0), (True, 1.0)):
        weight = torch.nn.Parameter(torch.tensor([4.0]))
        optimiser = torch.optim.SGD([weight], lr=1.0)
        loss = training.gradient_step(3 * weight.sum(), optimiser, [weight] if clipped else ())
        assert loss == 12.0 and weight.item() == pytest.approx(4 - length)


def test_learning_rates():
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimiser = torch.optim.SGD([{"params": [weight]} for weight in weights])
    training.set_learning_rate(optimiser, 0.25)
    assert [group["lr"] for group in optimiser.param_groups] == [0.25, 0.25]
    assert training.warmup_factor(0, 0) == training.warmup_factor(0, 0.3) == 1.0  # no rise at all
    assert training.cosine_factor(0, 7) == 1 and training.cosine_factor(7, 7) == pytest.approx(0)


def test_bfloat16_is_used_where_it_is_native(monkeypatch):
    cuda = torch.device("cuda")
    for capability, native in (("AVX2", False), ("AVX512", True)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        assert training.uses_bfloat16("bfloat16", CPU) == native
        assert training.uses_bfloat16("bfloat16", cuda)
        assert not training.uses_bfloat16("float32", CPU) and not training.uses_bfloat16("float32", cuda)


def _changed(state, path, change):
    """Change one entry of a nested state, in place."""
    *parents, last = path
    for name in parents:
        state = state[name]
    state[last] = change(state[last])


FIRST = ("optimiser", "state", 0, "exp_avg")
GROUP = ("optimiser", "param_groups", 0)


@pytest.mark.parametrize(
    ("path", "change", "message"),
    [
        (FIRST, lambda x: x.to(torch.complex64), r"exp_avg must be torch.float32 of shape .*, got torch.complex64"),
        (FIRST, lambda x: x.long(), "exp_avg must be torch.float32 of shape .*, got torch.int64"),
        (FIRST, lambda x: x.half(), "exp_avg must be torch.float32"),
        (FIRST, lambda x: torch.zeros(3, 7), r"exp_avg must be torch.float32 of shape .*, got .* \(3, 7\)"),
        (FIRST, lambda x: x * float("nan"), "exp_avg must be finite"),
        (FIRST, lambda x: "text", "exp_avg must be a number, got 'text'"),
        (("optimiser", "state", 0, "step"), lambda x: x.to(torch.complex64), "step must be torch.float32"),
        (("optimiser", "state"), lambda x: {9: x[0]}, "parameter of state.optimiser must be in 0…1, got 9"),
        ((*GROUP, "lr"), lambda x: "fast", "lr of state.optimiser must be of type float, got 'fast'"),
        ((*GROUP, "lr"), lambda x: float("inf"), "lr of state.optimiser must be a finite number, got inf"),
        ((*GROUP, "betas"), lambda x: 0.9, "betas of state.optimiser must be of type tuple, got 0.9"),
        (("optimiser", "param_groups"), lambda x: [*x, x[0]], "groups of state.optimiser must be 1, got 2"),
        (("module", "line.weight"), lambda x: x.to(torch.complex64), "state.module.line.weight must be torch.float32"),
        (("module", "line.weight"), lambda x: x / 0, "state.module.line.weight must be finite"),
        (("module", "line.weight"), lambda x: [1], "state.module.line.weight must be of type Tensor, got list"),
        (("module",), lambda x: {}, "state.module must hold 'line"),
    ],
)
def test_checkpoints_of_other_tensors_are_refused_before_the_first_step(
    corpus, tmp_path, monkeypatch, path, change, message
):
    out = tmp_path / "a.safetensors"
    interrupted(monkeypatch, corpus, out, 1)
    file = tmp_path / "a.safetensors.checkpoint"
    state = torch.load(file, weights_only=True)
    _changed(state, path, change)
    torch.save(state, file)
    monkeypatch.setattr(training, "gradient_step", None)  # no step is taken
    with pytest.raises(ValueError, match=rf"checkpoint must be whole; delete it, .*\(.*{message}"):
        trained(corpus, out)
