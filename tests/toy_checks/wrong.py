"""A check that returns no verdict."""

CLAIM = "Anything."
PAPER = "nowhere"
SOURCES = ()


def check():
    return True
