"""One file = one experiment: it makes data."""
