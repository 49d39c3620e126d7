"""Person detectors, and what they return."""
