"""What ``scripts/evaluate.py`` is made of; not shipped."""
