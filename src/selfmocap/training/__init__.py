"""Training of the frame and temporal networks."""
