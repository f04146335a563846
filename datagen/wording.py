"""Words of the sentences that commands print."""


def counted(count: int, name: str) -> str:
    """Return a number of things, with their name in the singular or the plural.

    >>> counted(1, "case"), counted(2, "case")
    ('1 case', '2 cases')
    """
    return f"{count} {name}{'' if count == 1 else 's'}"
