"""One file = one claim: it judges data."""
