"""Extract the palette of an image: the door for spark-submit, a Dask cluster and a scheduler.

    spark-submit --py-files dist/segpipe.zip jobs/extract_palette.py \
        --config conf/palette.yaml
    python jobs/extract_palette.py --config conf/palette.yaml --engine dask \
        --set engine.dask.address=tcp://scheduler:8786

Everything after ``--config`` is what ``segpipe run`` takes. Under spark-submit the engine is Spark.
"""

import sys

from segpipe.cli import job

if __name__ == "__main__":
    sys.exit(job("conf/palette.yaml", sys.argv[1:]))
