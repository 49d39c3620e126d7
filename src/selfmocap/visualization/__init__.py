"""Overlay, report, viewer and renderings of bodies."""
