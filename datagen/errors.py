"""The one error that a command turns into a sentence."""


class InputError(Exception):
    """Something the user gave cannot be used.

    The message is one sentence: what, where, what to do. Commands print it and end with exit
    code 2.
    """
