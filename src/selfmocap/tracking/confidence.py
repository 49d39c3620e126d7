"""Thresholds on the confidence of keypoints, in [0, 1]."""

VISIBLE = 0.3
"""Above it, the position of a keypoint is used: for boxes, masks and drawn bones."""
DETECTED = 0.05
"""Above it, a keypoint counts as detected inside the frame, even if it is occluded."""
WINDOW_RELATIVE = 0.3
"""Fraction of the highest confidence of a person from which a keypoint counts for the person's window."""
