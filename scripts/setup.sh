#!/usr/bin/env bash
# Makes .venv at the repository's root: Python >= 3.11 and git are all it needs.
#   scripts/setup.sh core   the local engine and the report
#   scripts/setup.sh all    every extra and the test tools
#   scripts/setup.sh bench  that, and what only scripts/bench.py measures against
# Pinned versions with hashes; running it again takes a moment.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-core}
pins=scripts/requirements/$what.txt
[ -f "$pins" ] || { echo "setup: give core, all or bench, found '$what'" >&2; exit 2; }

python=
for candidate in python3 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null &&
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { echo "setup: Python 3.11 or newer is needed; install it (Debian: python3)" >&2; exit 78; }

# pip is what a Debian Python without python3-venv leaves out, after making the folder
if [ ! -x .venv/bin/pip ]; then
    "$python" -m venv .venv || {
        echo "setup: $python cannot make virtual environments; install its venv module (Debian: python3-venv)" >&2
        exit 78
    }
fi
# what `all` installs holds everything of `core`
stamp=$(cat "$pins" | cksum)
if [ "$(cat ".venv/.$what" 2>/dev/null)" != "$stamp" ] &&
    { [ "$what" != core ] || [ "$(cat .venv/.all 2>/dev/null)" != "$(cat scripts/requirements/all.txt | cksum)" ]; }; then
    echo "setup: installing $(grep -c '==' "$pins") pinned packages into .venv" >&2
    .venv/bin/python -m pip install --quiet --compile --disable-pip-version-check --no-input \
        --require-hashes --no-deps -r "$pins"
    echo "$stamp" > ".venv/.$what"
fi
# The package itself, from this checkout: a path entry and the command.
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
pwd > "$site/segpipe.pth"
# As pip writes them: a #! line takes no path with a space; to Python the second line is a string.
cat > .venv/bin/segpipe <<STUB
#!/bin/sh
'''exec' "$PWD/.venv/bin/python" "\$0" "\$@"
' '''
import sys
from segpipe.cli import main
if __name__ == "__main__":  # processes that Dask starts import this file
    sys.exit(main())
STUB
chmod +x .venv/bin/segpipe
.venv/bin/python -m compileall -q segpipe
# numba's machine code, once a version: half a minute that no run pays for
kernels=$(cat segpipe/kernels/*.py | cksum)
if [ "$(cat .venv/.kernels 2>/dev/null)" != "$kernels" ]; then
    echo "setup: compiling the kernels, once" >&2
    .venv/bin/python -m segpipe.warm >/dev/null 2>.venv/warm.log || { tail -n 3 .venv/warm.log >&2; exit 70; }
    echo "$kernels" > .venv/.kernels
fi
