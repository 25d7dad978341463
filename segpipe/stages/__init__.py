"""The stages of a run, functions from values to values; ``pipeline`` strings them together."""
