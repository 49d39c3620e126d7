"""From a video to observations: people found, followed, and measured."""
