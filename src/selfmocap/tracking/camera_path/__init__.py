"""The path of a moving camera, from the background of its video."""
