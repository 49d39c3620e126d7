"""Post-processing of an estimated motion for animation; one module per step."""
