"""Stored runs that tests alter, and what `npgen verify` finds."""

import json

import numpy as np

import npgen
from npgen.inspection.verify_run import verify_run


def check(stored, **options):
    return verify_run(stored / "run", stored / "corpus", **options)


def change(file, at, flip=1):
    """Change one byte of a file, counted from its end if `at` is negative."""
    data = bytearray(file.read_bytes())
    data[at] ^= flip
    file.write_bytes(data)


def rewrite(stored, key, edit):
    """Edit an array of the run and its hash, so that only the replay can find it."""
    file = stored / "run" / "00000003" / f"{key}.npy"
    array = np.load(file)
    edit(array)
    digest = npgen.storage.npy.write_array(file, array)
    edit_manifest(stored, lambda manifest: manifest["shards"][0]["sha256"].update({key: digest}))


def edit_manifest(stored, edit):
    path = stored / "run" / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def places(report):
    return [(one.sample, one.y, one.x) for one in report.differences]
