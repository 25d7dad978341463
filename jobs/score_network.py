"""Score network connections: the door for spark-submit, a Dask cluster and a scheduler.

    spark-submit --py-files dist/segpipe.zip jobs/score_network.py \
        --config conf/network.yaml --as-of 2011-12-09
    python jobs/score_network.py --config conf/network.yaml --engine dask \
        --set engine.dask.address=tcp://scheduler:8786

Everything after ``--config`` is what ``segpipe run`` takes. Under spark-submit the engine is Spark.
"""

import sys

from segpipe.cli import job

if __name__ == "__main__":
    sys.exit(job("conf/network.yaml", sys.argv[1:]))
