"""Tokens of the small corpora, by an autoencoder of random weights."""

import pytest
from corpora import make_autoencoder

from npgen.tokens.encode import encode_tokens


@pytest.fixture(scope="module")
def digit_tokens(digits):
    return encode_tokens(digits, make_autoencoder(1), progress=False)


@pytest.fixture(scope="module")
def colour_tokens(colours):
    return encode_tokens(colours, make_autoencoder(3, bits=11), progress=False)
