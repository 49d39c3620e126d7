"""A page in the browser that captures videos on this machine."""
