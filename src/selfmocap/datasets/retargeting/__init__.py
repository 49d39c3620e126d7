"""Retarget the motion of other skeletons to the body."""
