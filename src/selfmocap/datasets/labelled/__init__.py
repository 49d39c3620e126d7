"""Data sets as observations with their truth, from the user's own copies."""
