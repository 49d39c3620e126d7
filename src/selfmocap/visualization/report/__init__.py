"""The report of a capture: one page that opens offline."""
