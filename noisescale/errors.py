"""The one exception raised for bad input, and the search for the name that was meant."""

from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: the message says what was given and what to do instead.

    The command line prints the message as one line and exits with code 2.
    """


def unknown_name(kind: str, name: object, known: Iterable[str]) -> InputError:
    """An error that names the unknown `name`, the nearest known one and all known ones."""
    from difflib import get_close_matches

    options, given = list(known), " ".join(repr(name).split())[:60]
    near = get_close_matches(str(name)[:60], options, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {given}: {hint}known are {', '.join(options)}")
