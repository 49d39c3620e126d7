"""Other skeletons' motion put on the body."""
