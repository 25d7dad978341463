"""``python -m segpipe``."""

import sys

from segpipe.cli import main

if __name__ == "__main__":
    sys.exit(main())
