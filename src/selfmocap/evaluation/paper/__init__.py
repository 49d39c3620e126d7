"""The experiments, tables and figures of the papers."""
