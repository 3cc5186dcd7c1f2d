"""The display of an experiment on a terminal or in a notebook."""
