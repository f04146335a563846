"""Words of the sentences that commands print."""

from collections.abc import Sequence


def counted(count: int, name: str) -> str:
    """Return a number of things, with their name in the singular or the plural.

    >>> counted(1, "case"), counted(2, "case")
    ('1 case', '2 cases')
    """
    return f"{count} {name}{'' if count == 1 else 's'}"


def enumerated(things: Sequence[object]) -> str:
    """Return some things, one at least, as an enumeration.

    >>> enumerated(["a", "b", "c"]), enumerated([1])
    ('a, b and c', '1')
    """
    *before, last = map(str, things)
    return f"{', '.join(before)} and {last}" if before else last
