"""The body: SMPL's equation, its files, its skeleton and its motion."""
