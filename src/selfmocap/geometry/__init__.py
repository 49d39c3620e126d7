"""Cameras, rotations, visibility and the kernels under them."""
