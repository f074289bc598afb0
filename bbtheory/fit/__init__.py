"""Fits of measured curves and units against the theory: arrays in, fit records out."""
