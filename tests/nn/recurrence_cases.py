"""The cases of the contract that are networks of recurrence."""


def cases():
    """Yield names and cases."""
    yield from ()
