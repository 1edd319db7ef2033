"""The cases of the contract that are networks of convolution."""


def cases():
    """Yield names and cases."""
    yield from ()
