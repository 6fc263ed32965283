"""The recipe as JSON."""

import json

from noisescale.formats import Export
from noisescale.formats.document import document_of


def write(what: Export) -> str:
    """The recipe's keys under a schema; `noisescale equivalent` reads it back."""
    document = {"schema": "noisescale.recipe/1", **document_of(what)}
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
