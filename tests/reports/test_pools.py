"""Which pools a report stores unasked."""

import sys

import npgen


def test_pools_of_large_sources_are_computed_only_on_request(digits, tmp_path, monkeypatch):
    config = npgen.Config(window=5, seed_size=10, locality=2)
    corpus = npgen.Corpus.from_arrays(digits.images[:12])
    samples = npgen.generate(corpus, 5, "local", config, progress=False)
    # For each drawn pixel of four samples: 12 images at all positions within R, and a frame rebuilt.
    work = 4 * (256 - 100) * (12 * 5**2 + 8 * 256)
    sizes = []
    for most in (work - 1, work):
        monkeypatch.setattr(sys.modules["npgen.reports.data"], "POOL_WORK", most)
        written = npgen.report(samples, corpus, tmp_path / "r.html", progress=False)
        assert any("156 pools for each sample, from sources of this size" in n for n in written.notes) == (most < work)
        sizes.append(written.size)
    assert sizes[0] < sizes[1]
    monkeypatch.setattr(sys.modules["npgen.reports.data"], "POOL_WORK", 0)
    assert npgen.report(samples, corpus, tmp_path / "r.html", pools=[0], progress=False).size > sizes[0]
