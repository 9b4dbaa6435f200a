"""One HTML file that shows where every pixel of a run came from, and needs nothing but a browser."""

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

# In the order in which they use each other; together they are one script.
SCRIPTS = ("data.js", "maps.js", "inspector.js", "viewer.js", "gallery.js", "main.js")


@dataclass(frozen=True)
class ReportFile:
    """What `report` wrote.

    Attributes
    ----------
    path
        The file.
    size
        Its length in bytes.
    notes
        What it leaves out and why, a sentence each, as shown at its top.
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
    """Write one self-contained HTML file in which every pixel can be followed to its source.

    Made for looking: the paper's source tracing (section 3.2, Figures 5, 6, 10 and 12) at every pixel. The file makes
    no request and can be opened from anywhere. The same arguments give the same bytes.

    Parameters
    ----------
    samples
        n samples.
    corpus
        The corpus they were made from, with or without labels.
    out
        The file; an older one is replaced.
    count
        The first so many samples are shown.
    pools
        Indices, below `count`, of the samples whose candidate pools are kept, recomputed exactly by `npgen.explain`.
        None means the first four, where every pixel has a shortlist (a pool over all images takes long).
    megabytes
        Size of the file at most, in 10⁶ bytes. If the source images don't fit as a whole, the least used ones are cut
        to the windows that were compared, then left out; the report says so.
    progress
        Show a progress bar while pools are opened.

    Returns
    -------
    ReportFile
        Path, size, and what was left out.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, it is another corpus, a trace doesn't fit it, or even the traces alone take more
        room than there is.
    ModuleNotFoundError
        If Jinja2 is not installed.
    OSError
        If the file can't be written.
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
    """Read template, style and script of the page."""
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
        # Style and script are ours and hold no data; the policy lets exactly these two run.
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
    """Name an inline script or style as a Content-Security-Policy does."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
