"""Retarget motions onto rigged characters of other people."""
