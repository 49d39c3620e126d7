"""The main job: from a video file to the motions of its people."""
