"""From the motion that explains a video to one that an animator can use; one module a repair."""
