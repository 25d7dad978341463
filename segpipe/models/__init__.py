"""Fitted models: small frozen values with pure functions, saved as JSON + npz."""
