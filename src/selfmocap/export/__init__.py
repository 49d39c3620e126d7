"""Export a motion or a posed body to files of other programs; one module per format."""
