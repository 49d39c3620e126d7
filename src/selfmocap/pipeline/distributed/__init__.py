"""Capture many videos on one or many machines."""
