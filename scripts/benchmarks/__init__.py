"""Parts of ``scripts/bench.py``: data, measuring, quality, records, and one module per command."""
