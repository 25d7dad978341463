#!/usr/bin/env bash
# From a fresh clone to results: sets up .venv, then
#   1. segments the customers of a real shop (CDNOW, 69,659 transactions),
#   2. scores 100,000 synthetic network connections with attacks planted in them.
# Needs Python >= 3.11 and git, no Java. Results lie in demo-out/; running it again takes seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh core
mkdir -p demo-out

.venv/bin/python scripts/demo_data.py demo-out/data/cdnow.parquet
echo "== customers: real transactions -> one row per customer -> segments"
.venv/bin/segpipe run conf/customers.yaml \
    --set source.uri=demo-out/data/cdnow.parquet --set target.uri=demo-out/customers \
    > demo-out/customers.json || { cat demo-out/customers.json; exit 1; }
.venv/bin/python scripts/demo_show.py demo-out/customers.json

connections=demo-out/data/connections.parquet
[ -f "$connections" ] || .venv/bin/segpipe data make connections --rows 100000 --out "$connections" >&2
echo
echo "== network: synthetic connections -> what fits no normal pattern"
.venv/bin/segpipe run conf/network.yaml \
    --set source.uri="$connections" --set target.uri=demo-out/network \
    > demo-out/network.json || { cat demo-out/network.json; exit 1; }
.venv/bin/python scripts/demo_show.py demo-out/network.json demo-out/data/_connections_truth.parquet
