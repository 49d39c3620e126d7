"""Synthetic people in the layouts of data sets."""
