"""Experiments small enough to test the driver with."""
