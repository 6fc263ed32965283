"""noisescale's own recipe file."""

import tomli_w

from noisescale.formats import Export
from noisescale.formats.document import document_of


def write(what: Export) -> str:
    """A recipe that `noisescale equivalent` and `noisescale.recipe` read back."""
    return tomli_w.dumps(document_of(what))
