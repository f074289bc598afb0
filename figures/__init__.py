"""One file = one figure: it shows data."""
