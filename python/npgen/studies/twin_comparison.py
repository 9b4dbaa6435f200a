"""What the token sampler says comes next, beside what networks say that saw just as much (open question 1).

On contexts of held-out images: how likely the true token is to each, how far apart their distributions are, and how
often they bet on the same token. Imports torch.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from npgen.config import Config
from npgen.corpus import Corpus, check_one_size
from npgen.errors import check_type, check_whole, invalid
from npgen.output import Column, Row, csv_table, markdown_table, number
from npgen.sampling import token_distributions
from npgen.storage import write_bytes, write_json
from npgen.studies.workbench import claim_folder
from npgen.tokens import Tokens, TwinKind, TwinRecipe, load_tokens, twins

FORMAT = "npgen-twin-comparison"
VERSION = 1
# Bit-flip probabilities that a fitted sampler chooses from.
FLIPS = (0.002, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35)
# Resamples of a bootstrap.
RESAMPLES = 2000
# What is measured of a pair of distributions; each has a value a context.
MEASURES = ("sampler_loss", "twin_loss", "kl_sampler_twin", "kl_twin_sampler", "same_top", "correlation")


@dataclass(frozen=True)
class TwinComparison:
    """What `compare_twins` found.

    Attributes
    ----------
    rows
        A row a range, bit-flip probability and kind of twin; JSON-able values by name.
    notes
        What the table needs said below it.
    facts
        Corpus, tokens, recipes: what decides the rows.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    facts: dict[str, Any]

    def markdown(self) -> str:
        """Lay the rows out as a Markdown table with its notes."""
        columns = [
            Column("γ", lambda row: str(row["gamma"] or "global")),
            Column("twin", lambda row: row["twin"]),
            Column("sampler's flip", lambda row: f"{row['flip']:g}" + (" (fitted)" if row["fitted"] else "")),
            number("nats, sampler", "sampler_loss", ".2f"),
            number("nats, twin", "twin_loss", ".2f"),
            number("KL(sampler‖twin)", "kl_sampler_twin", ".2f"),
            number("KL(twin‖sampler)", "kl_twin_sampler", ".2f"),
            number("same top token", "same_top", ".1%"),
            number("correlation", "correlation", ".3f"),
        ]
        return "\n".join([markdown_table(columns, self.rows, 3), "", *(f"- {note}" for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}


def compare_twins(
    corpus: Corpus,
    out: str | os.PathLike[str],
    gammas: Sequence[int | None] = (1, 2, 5),
    contexts: int = 1000,
    *,
    kinds: Sequence[TwinKind] = get_args(TwinKind),
    tokens: str | os.PathLike[str] | Tokens = "auto",
    recipe: TwinRecipe | None = None,
    heldout: Corpus | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    quiet: bool = False,
) -> TwinComparison:
    """Compare the next-token distributions of the sampler and of its parametric twins on held-out contexts.

    The sampler's are those of local autoregression, p(x | context) ∝ Σ_n P̄^d_n · P̄^ham(x, z_n) · P^(b − ham), with the
    authors' bit-flip probability P̄ and with the one of `FLIPS` that fits other held-out contexts best. Each context is
    one cell, drawn at random, of an image of its own, so that contexts are independent. `table.md`, `table.csv` and
    `results.json` are written after each range.

    Parameters
    ----------
    corpus
        N source images.
    out
        Folder to make, or that of an earlier call, whose tables are replaced.
    gammas
        Ranges γ in cells; None means all cells before.
    contexts
        Number of contexts; as many others, or what is left, are for fitting.
    kinds
        Kinds of twin: "convolution", "transformer".
    tokens
        The corpus's tokens, as in `load_tokens`.
    recipe
        How to train each twin but for kind and γ; None takes the defaults.
    heldout
        Images that the contexts are of; None takes the corpus's own.
    seed
        Decides images and cells.
    device, threads, quiet
        As in `train_twin` and `npgen.generate`.

    Returns
    -------
    TwinComparison
        The table.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or there are too few held-out images: before anything is trained.
    """
    check_type("corpus", corpus, Corpus)
    check_one_size(corpus, "tokens")
    check_type("recipe", recipe, TwinRecipe, type(None))
    check_whole("contexts", contexts, 2)
    check_whole("seed", seed, 0)
    if isinstance(kinds, str) or not kinds or not set(kinds) <= set(get_args(TwinKind)):
        raise invalid("kinds", f"some of {', '.join(get_args(TwinKind))}", kinds)
    if isinstance(gammas, str) or not gammas:
        raise invalid("gammas", "one or more ranges", gammas)
    for gamma in gammas:
        Config(gamma=gamma)
    apart = corpus.heldout if heldout is None else heldout
    if apart is None or len(apart) < contexts + 2:
        raise invalid("heldout", f"of at least {contexts + 2} images", None if apart is None else len(apart))
    check_one_size(apart, "tokens")
    store = load_tokens(tokens, corpus, device=device, threads=threads, progress=not quiet)
    if store.autoencoder is None or store.bits > twins.MOST_CLASS_BITS:
        raise invalid("tokens", f"of at most {twins.MOST_CLASS_BITS} bits, with an autoencoder", store)
    folder = Path(out)
    claim_folder(folder, FORMAT, VERSION)

    random = np.random.default_rng([seed, 5])
    ids = random.permutation(len(apart))[: 2 * contexts]
    codes = store.autoencoder.encode(np.asarray(apart.images[np.sort(ids)]), threads=threads)  # (M, h, w, Y)
    codes = codes[random.permutation(len(codes))]
    cells = np.stack([random.integers(0, extent, len(codes)) for extent in store.grid], 1)  # (M, 2)
    truth = twins.numbers_of(codes[np.arange(len(codes)), cells[:, 0], cells[:, 1]])  # (M,)
    test, fit = slice(0, contexts), slice(contexts, None)

    rows: list[Row] = []
    trained: list[dict[str, Any]] = []
    facts = {
        "corpus": corpus.hash,
        "heldout": apart.hash,
        "tokens": store.id,
        "contexts": contexts,
        "seed": seed,
        "twins": trained,
    }
    with tqdm(gammas, unit="range", disable=quiet) as bar:
        for gamma in bar:
            losses = [_losses(_sampled(store, gamma, codes[fit], cells[fit], flip), truth[fit]) for flip in FLIPS]
            best = FLIPS[int(np.argmin([loss.mean() for loss in losses]))]
            networks = [
                _twin(store, dataclasses.replace(recipe or TwinRecipe(), kind=kind, gamma=gamma), device)
                for kind in kinds
            ]
            trained += [twin.facts for twin in networks]
            answers = [twin.probabilities(codes[test], cells[test]) for twin in networks]
            for flip in dict.fromkeys((Config().flip, best)):
                looked_up = _sampled(store, gamma, codes[test], cells[test], flip)
                for kind, answer in zip(kinds, answers, strict=True):
                    row = {"gamma": gamma, "twin": kind, "flip": flip, "fitted": flip == best}
                    rows.append(row | _agreement(looked_up, answer, truth[test], seed))
            result = TwinComparison(tuple(rows), tuple(_notes(corpus, store, contexts, trained)), facts)
            write_bytes(folder / "table.csv", csv_table(rows))
            write_bytes(folder / "table.md", f"{result.markdown()}\n".encode())
            write_json(folder / "results.json", result.to_json())
    return result


def _twin(tokens: Tokens, recipe: TwinRecipe, device: str) -> twins.Twin:
    return twins.train_twin(tokens, recipe, device, quiet=True)


def _sampled(
    tokens: Tokens, gamma: int | None, codes: NDArray[np.uint8], cells: NDArray[np.int64], flip: float
) -> NDArray[np.float64]:
    """Return the sampler's distribution at one cell of each grid, (M, 2^b)."""
    config = Config(gamma=gamma, order="raster", draw="histogram", flip=flip)
    found = np.empty((len(codes), 1 << tokens.bits))
    places, of_place = np.unique(cells, axis=0, return_inverse=True)
    for place, cell in enumerate(places):
        which = np.flatnonzero(of_place.reshape(-1) == place)
        found[which] = token_distributions(tokens, codes[which], (int(cell[0]), int(cell[1])), config)
    return found


def _losses(chances: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    losses: NDArray[np.float64] = -np.log(chances[np.arange(len(truth)), truth].clip(1e-300))
    return losses


def _agreement(sampler: NDArray[np.float64], twin: NDArray[np.float64], truth: NDArray[np.int64], seed: int) -> Row:
    """Compare two distributions (M, 2^b) of each context; means over contexts, with intervals by bootstrap."""
    logs = [np.log(chances.clip(1e-300)) for chances in (sampler, twin)]
    centred = [chances - chances.mean(1, keepdims=True) for chances in (sampler, twin)]
    norms = [np.sqrt((one**2).sum(1)).clip(1e-300) for one in centred]
    values = {
        "sampler_loss": _losses(sampler, truth),
        "twin_loss": _losses(twin, truth),
        "kl_sampler_twin": (sampler * (logs[0] - logs[1])).sum(1),
        "kl_twin_sampler": (twin * (logs[1] - logs[0])).sum(1),
        "same_top": (sampler.argmax(1) == twin.argmax(1)).astype(np.float64),
        "correlation": (centred[0] * centred[1]).sum(1) / (norms[0] * norms[1]),
    }
    drawn = np.random.default_rng([seed, 6]).integers(0, len(truth), (RESAMPLES, len(truth)))
    row: Row = {}
    for name in MEASURES:
        low, high = np.percentile(values[name][drawn].mean(1), (2.5, 97.5))
        row |= {name: float(values[name].mean()), f"{name}_low": float(low), f"{name}_high": float(high)}
    return row


def _notes(corpus: Corpus, tokens: Tokens, contexts: int, trained: list[dict[str, Any]]) -> list[str]:
    shared = trained[0]["recipe"]
    sizes = "; ".join(
        f"{facts['recipe']['kind']} γ {facts['recipe']['gamma'] or 'global'}: {facts['parameters']:,} parameters, "
        f"{facts['seconds']:.0f} s"
        for facts in trained
    )
    return [
        f"Corpus {corpus.name}: {len(tokens)} images as sources and to train on; {contexts} held-out contexts, one "
        f"cell each of as many images; tokens of {tokens.bits} bits, {1 << tokens.bits} classes "
        f"({np.log(1 << tokens.bits):.2f} nats if all were alike).",
        f"Twins: {shared['steps']} steps of {shared['batch_size']} images. {sizes}.",
        "nats: mean −ln p(true token). Correlation: of the probabilities of all tokens, mean over contexts. A fitted "
        "flip is the one that fits other held-out contexts best. Brackets are 95 % intervals, by bootstrap over "
        "contexts.",
    ]
