"""The one exception raised for bad input, and the search for the name that was meant."""

from collections.abc import Iterable

# What other programs call the same thing.
_ALIASES = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "bs": "batch_size",
    "linear": "learning-rate",
    "square-root": "sqrt",
    "gamma": "factor",
}


class InputError(ValueError):
    """Bad input: the message says what was given and what to do instead.

    The command line prints the message as one line and exits with code 2.
    """


def shown(value: object) -> str:
    """A value for an error message, cut to a line's length."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # an int of more digits than Python prints
        text = "a number of thousands of digits"
    except Exception:  # too deep, or a broken __repr__
        text = f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= 60 else text[:57] + "..."


def unknown_name(kind: str, name: object, known: Iterable[str]) -> InputError:
    """An error that names the unknown `name`, the nearest known one and all known ones."""
    from difflib import get_close_matches

    options = list(known)
    text = name[:60] if isinstance(name, str) else ""
    near = [_ALIASES[text]] if _ALIASES.get(text) in options else []
    near = near or get_close_matches(text, options, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"unknown {kind} {shown(name)}: {hint}known are {', '.join(options)}")
