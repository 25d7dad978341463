"""Outlier references, scores, calibration and the label table."""
