"""The cases of the contract that are networks of attention."""


def cases():
    """Yield names and cases."""
    yield from ()
