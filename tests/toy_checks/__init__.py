"""Checks small enough to test the driver with."""
