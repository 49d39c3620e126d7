"""From a video to observations: detect and track people, and extract their crops, masks and flow."""
