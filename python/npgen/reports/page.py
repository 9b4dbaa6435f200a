"""The HTML file of a report: rendered from data, template, style and scripts; it loads nothing else."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from npgen.corpus import Corpus
from npgen.errors import invalid
from npgen.reports.data import MEGABYTE, Options, build_payload
from npgen.runs import Samples
from npgen.storage import write_bytes

# Scripts in the order of their use of each other; joined, they are one script.
SCRIPTS = ("data.js", "maps.js", "inspector.js", "viewer.js", "gallery.js", "main.js")


@dataclass(frozen=True)
class ReportFile:
    """The file written by `report`.

    Attributes
    ----------
    path
        The file.
    size
        Its size in bytes.
    notes
        What is left out and why, one sentence each; also shown at the top of the page.
    """

    path: Path
    size: int
    notes: tuple[str, ...]


def report(
    samples: Samples,
    corpus: Corpus,
    out: str | os.PathLike[str],
    *,
    count: int = 64,
    pools: Sequence[int] | None = None,
    megabytes: float = 10.0,
    progress: bool = True,
) -> ReportFile:
    """Write one self-contained HTML file in which every pixel can be traced to its source.

    It is the paper's source tracing (section 3.2, Figures 5, 6, 10 and 12), interactive and at every pixel. The file
    loads nothing else, so that it can be opened from anywhere. The same arguments give the same bytes.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus that they were made from, with or without labels.
    out
        The file; an older one is replaced.
    count
        Number of samples that are shown, the first ones.
    pools
        Indices, below `count`, of the samples whose candidate pools are stored, recomputed by `npgen.explain`. None
        means the first four, if every pixel has a shortlist (a pool over all images takes long).
    megabytes
        Largest size of the file, in 10⁶ bytes. If not all source images fit, the least used ones are cut to the
        windows that were compared, or left out, with a note in the report.
    progress
        Show a progress bar while pools are computed.

    Returns
    -------
    ReportFile
        Path, size, and notes on what was left out.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the samples were made from another corpus, a pixel is no copy of its source, or
        the traces alone are larger than `megabytes`.
    ModuleNotFoundError
        If Jinja2 is not installed.
    OSError
        If the file can't be written.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> samples = npgen.generate(corpus, 2, "local", npgen.Config(window=5), progress=False)
    >>> written = npgen.report(samples, corpus, "report.html", progress=False)
    >>> print(*written.notes)
    No pools are stored: the pool of every pixel comes from about 5,000 images, which takes long. Name the samples whose
    pools you want (--pools).
    """
    parts = _parts()
    options = Options.checked(samples, count, pools, megabytes)
    room = int(options.megabytes * MEGABYTE) - sum(len(part.encode("utf-8")) for part in parts.values())
    payload = build_payload(samples, corpus, options, room, progress)
    html = _render(samples, corpus, parts, payload)
    target = Path(out)
    if target.is_dir():
        raise invalid("out", "a file", str(out))
    write_bytes(target, html)
    return ReportFile(target, len(html), tuple(payload["notes"]))


def _parts() -> dict[str, str]:
    """Return template, style and script of the page, by name."""
    folder = files("npgen.reports")
    scripts = [(folder / "js" / name).read_text(encoding="utf-8") for name in SCRIPTS]
    return {
        "template": (folder / "template.html").read_text(encoding="utf-8"),
        "style": (folder / "report.css").read_text(encoding="utf-8"),
        "script": "\n".join(scripts),
    }


def _render(samples: Samples, corpus: Corpus, parts: dict[str, str], payload: dict[str, Any]) -> bytes:
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('report needs the extra `figures`: pip install "npgen[figures]"') from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(parts["template"]).render(
        # Style and script are part of the package and hold no data; the policy allows only these two.
        style=Markup(parts["style"]),
        script=Markup(parts["script"]),
        style_hash=_policy_hash(parts["style"]),
        script_hash=_policy_hash(parts["script"]),
        payload=payload,
        provenance=samples.provenance(),
        corpus=corpus,
        labelled=corpus.labels is not None,
    )
    return page.encode("utf-8")


def _policy_hash(text: str) -> str:
    """Return the hash of an inline script or style, as in a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
