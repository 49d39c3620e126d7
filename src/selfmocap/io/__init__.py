"""Files, videos and plumbing for every room."""
