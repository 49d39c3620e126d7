"""Detectors of people and their keypoints."""
