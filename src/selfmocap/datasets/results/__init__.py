"""Readers of the results of other systems: SMPL bodies of the people in a video."""
