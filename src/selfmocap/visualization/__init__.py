"""Pictures of the body, overlays and the viewer."""
