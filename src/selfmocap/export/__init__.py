"""From a motion or a posed body to the files of other programs; one module a format."""
