"""Verification of runs whose borders between sources were cut anew."""

import pytest
from stored_runs import change, check, edit_manifest, places, rewrite

import npgen


def test_sources_before_the_cuts_and_energies_are_checked(digits, tmp_path):
    corpus = digits.save(tmp_path / "corpus")
    config = npgen.Config(window=5, shortlist=20, seed_size=4, seams=True)
    samples = npgen.generate(corpus, 2, "full", config, 5, first=3, encoder="pixels", progress=False)
    samples.save(tmp_path / "run")
    run = tmp_path / "run" / "00000003"
    change(run / "grown.npy", 4 * 3 * 17 - samples.grown.nbytes)  # image id of pixel (1, 1) of the first sample
    report = check(tmp_path)
    assert (0, 1, 1) in places(report)
    reasons = {reason for one in report.differences for reason in one.reasons}
    assert any("generated again it has" in reason and "grown image_id" in reason for reason in reasons)
    change(run / "grown.npy", 4 * 3 * 17 - samples.grown.nbytes)

    def lower(energies):
        energies[1, 1] -= 1

    rewrite(tmp_path, "seam_energy", lower)
    (found,) = check(tmp_path).differences
    before, after = samples.seam_energy[1]
    assert found.reasons == (f"the energies of the sample's seams are {before:g} and {after:g}",)
    assert (found.sample, found.y, found.x) == (1, 0, 0)

    def far(grown):
        grown[0, 3, 4, 1] = 16

    rewrite(tmp_path, "grown", far)
    reasons = {(one.y, one.x): one.reasons for one in check(tmp_path).differences if one.sample == 0}
    assert "before the cuts: there is no such pixel in the corpus" in reasons[3, 4]
    edit_manifest(tmp_path, lambda manifest: manifest["shards"][0]["sha256"].pop("grown"))
    with pytest.raises(ValueError, match="must have a complete manifest, got one without 'grown'"):
        check(tmp_path)
