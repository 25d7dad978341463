"""Where rows live and work is done: one protocol, three engines (local, Dask, Spark)."""
