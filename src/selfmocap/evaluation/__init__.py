"""Scores of motions against the truth."""
