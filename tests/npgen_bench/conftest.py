"""What the tests of the benchmark share: a small corpus in a folder, and PyTorch's number of threads put back."""

import json

import pytest

SMALL = {"window": 5, "shortlist": 20, "seed_size": 4}


@pytest.fixture
def stored(digits, tmp_path):
    """Folder of a corpus; `config.json` beside it holds settings that fit it."""
    digits.save(tmp_path / "corpus")
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    return tmp_path / "corpus"


@pytest.fixture
def make_task(stored):
    """Return a function that makes tasks of the corpus `stored`, as short as possible."""
    import npgen
    from npgen_bench import Task

    def make(section, corpus=stored, **changes):
        values = {"encoder": "pixels", "config": npgen.Config(**SMALL), "threads": 1, "seconds": 0.01, "batch_size": 2}
        return Task(section, str(corpus), **(values | changes))

    return make


@pytest.fixture(autouse=True)
def torch_threads():
    """Restore PyTorch's number of threads: the benchmark sets it, for a process of its own."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
