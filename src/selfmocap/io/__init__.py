"""Files, video and plumbing that every room uses."""
