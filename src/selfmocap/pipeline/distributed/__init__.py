"""Many videos on many machines."""
