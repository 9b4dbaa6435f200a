"""Which encoder a name stands for."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from npgen.corpus import Corpus, check_corpus
from npgen.encoders.encoder import Encoder
from npgen.encoders.joined import JoinedEncoder, choose_weights
from npgen.encoders.keys import embed
from npgen.encoders.kinds import ENCODERS, AnyEncoder
from npgen.encoders.pixels import PIXELS, PixelEncoder
from npgen.encoders.smoothing import SmoothedEncoder
from npgen.encoders.smt import SmtEncoder
from npgen.errors import invalid
from npgen.nn import read_header

SMT = "smt"
SMOOTH = ":smooth="
# What "auto" stands for where the encoder of a run is looked for, whose id is known.
OF_RUNS = ("auto", SMT, PIXELS, "auto+smt")


def load_encoder(spec: str | os.PathLike[str] | AnyEncoder, corpus: Corpus, device: str = "auto") -> AnyEncoder:
    """Load an encoder for a corpus.

    Parameters
    ----------
    spec
        "auto": the encoder in the corpus folder (`encoder.safetensors`), else a shipped one that fits. "pixels": coarse
        pixels, for any corpus. "smt": the sparse manifold transform in the corpus folder (`smt.safetensors`), else a
        shipped one. A name, such as "mnist": the shipped encoder of that name. A path: a file that `npgen encoder
        train`, `import` or `fit` wrote. Several of these with "+" between them, each with a weight before it or not,
        as "auto+smt" or "0.7*auto+0.3*smt": one encoder whose products are the weighted sums; without weights these are
        chosen on the corpus. Any of these with ":smooth=20" at its end: embeddings are moved towards those of the 20
        nearest images (`SmoothedEncoder`). An encoder is returned as it is.
    corpus
        The corpus; the encoder must take its images.
    device
        Torch device to run on; "auto" takes an accelerator if there is one.

    Returns
    -------
    Encoder, PixelEncoder, SmtEncoder, JoinedEncoder or SmoothedEncoder
        An encoder that takes the images of `corpus`.

    Raises
    ------
    FileNotFoundError
        If `spec` is a path and there is no such file.
    TypeError
        If `spec` is not a string, path or encoder.
    ValueError
        If `spec` is unknown, the file is damaged, the corpus has no encoder, or the encoder does not take its images.

    Examples
    --------
    >>> corpus = npgen.load_corpus("mnist-5k")
    >>> npgen.load_encoder("pixels", corpus)
    PixelEncoder(shape=(28, 28, 1), grid=(7, 7))
    >>> npgen.load_encoder("auto", corpus).channels  # the shipped one
    1
    """
    check_corpus(corpus, one_size="an encoder")
    encoder = _find_encoder(spec, corpus, device)
    shape = corpus.images.shape[1:]
    if isinstance(encoder, PixelEncoder | SmtEncoder) and encoder.shape != shape:
        raise invalid("encoder", f"one for the corpus's images of shape {shape}", encoder)
    if encoder.channels != shape[2]:
        allowed = f"one for images of {shape[2]} channels, as corpus {corpus.name!r} has"
        raise invalid("encoder", allowed, f"{spec} of {encoder.channels} channels")
    return encoder


def encoder_of_run(
    spec: str | os.PathLike[str] | AnyEncoder, corpus: Corpus, encoder_id: str, device: str = "auto"
) -> AnyEncoder:
    """Load the encoder that a run was made with.

    Parameters
    ----------
    spec
        As for `load_encoder`; "auto" looks for it: among "auto", "smt", "pixels" and "auto+smt".
    corpus
        The corpus of the run.
    encoder_id
        The encoder's id, as the run names it.
    device
        Torch device to run on.

    Returns
    -------
    Encoder, PixelEncoder, SmtEncoder, JoinedEncoder or SmoothedEncoder
        The encoder of this id.

    Raises
    ------
    ValueError, FileNotFoundError
        If it can't be loaded, or is another one.
    """
    found = None
    for name in OF_RUNS if spec == "auto" else (spec,):
        try:
            found = load_encoder(name, corpus, device)
        except ValueError:
            if spec != "auto":
                raise
            continue  # the corpus has no such encoder
        if found.id == encoder_id:
            return found
    raise invalid("encoder", f"the one that the run was made with, {encoder_id[:16]}", found and found.id[:16])


def _find_encoder(spec: str | os.PathLike[str] | AnyEncoder, corpus: Corpus, device: str) -> AnyEncoder:
    if isinstance(spec, ENCODERS):
        found: AnyEncoder = spec
        return found
    if not isinstance(spec, str | os.PathLike):
        raise TypeError(f"encoder must be a name, a path or an Encoder, got {type(spec).__name__}")
    if isinstance(spec, str) and SMOOTH in spec and "+" not in spec.rpartition(SMOOTH)[2]:
        return _smoothed(spec, corpus, device)
    if isinstance(spec, str) and "+" in spec and not Path(spec).exists():
        return _joined(spec, corpus, device)
    if spec == PIXELS:
        return PixelEncoder(*corpus.images.shape[1:])
    if spec == SMT:
        return SmtEncoder.find("auto", corpus, device)
    if _is_smt_file(spec):
        return SmtEncoder.load(spec, device=device)
    return Encoder.find(spec, corpus, device)


def _joined(spec: str, corpus: Corpus, device: str) -> JoinedEncoder:
    """Load the parts of ``spec+spec`` or ``weight*spec+weight*spec``."""
    names, weights = [], []
    for text in spec.split("+"):
        before, times, name = text.rpartition("*")
        try:
            weights.append(float(before) if times else None)
        except ValueError:
            raise invalid("encoder", "of parts like 0.5*smt, with + between them", spec) from None
        names.append(name.strip())
    given = [weight for weight in weights if weight is not None]
    if given and len(given) < len(weights):
        raise invalid("encoder", "of parts that all have weights, or none", spec)
    parts = [load_encoder(name, corpus, device) for name in names]
    return JoinedEncoder(parts, given or choose_weights(parts, corpus))


def _smoothed(spec: str, corpus: Corpus, device: str) -> SmoothedEncoder:
    """Load the encoder of ``spec:smooth=n``."""
    name, _, number = spec.rpartition(SMOOTH)
    if not number.isdecimal():
        raise invalid("encoder", "a name, then :smooth= and a whole number", spec)
    base = load_encoder(name, corpus, device)
    return SmoothedEncoder(base, corpus, int(number), partial(embed, corpus, base, progress=False))


def _is_smt_file(spec: str | os.PathLike[str]) -> bool:
    """Whether a path is a file of a sparse manifold transform: its header names atoms."""
    path = Path(spec)
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        header = read_header(path)
    except (ValueError, OSError):
        return False  # the encoder's reader says what is wrong with it
    architecture = header.get("architecture")
    return isinstance(architecture, dict) and "atoms" in architecture
