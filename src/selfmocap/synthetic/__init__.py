"""Synthetic people: recorded motion on bodies of many shapes, dressed, lit and rendered, with exact truth."""
