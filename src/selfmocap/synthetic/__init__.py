"""Synthetic people: real motion on many bodies, dressed, lit, photographed, with the exact truth."""
