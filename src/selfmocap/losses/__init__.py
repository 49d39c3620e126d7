"""Losses, priors and metrics."""
