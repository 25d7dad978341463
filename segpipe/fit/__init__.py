"""From a described table to a fitted segment model."""
