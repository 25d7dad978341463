"""Every command of the README is executed as it stands there.

Blocks are marked by the words after the fence: ``bash`` and ``python`` run here in order, in a
folder that looks like a checkout; ``spark`` and ``dask`` after the word need those; ``slow`` runs
in a fresh clone; ``suite`` is what runs this test; ``airflow`` is shown and only compiled;
``estimators`` is an example by itself.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import typing
import zipfile
from pathlib import Path

import pytest
import yaml

from segpipe import config as configs
from segpipe import configfile
from segpipe.engines import jdk
from segpipe.schema import LABELS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+) ?(\w*)\n(.*?)^```$", TEXT, re.M | re.S)
KNOWN = {"", "estimators", "slow", "suite", "spark", "dask", "airflow", "bench"}


def blocks(language, word):
    return [text for found, mark, text in BLOCKS if found == language and mark == word]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The parts that commands name, linked; results land beside them, not in the repository."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("conf", "jobs", "segpipe", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv/bin").mkdir(parents=True)
    for tool in ("python", "segpipe", "dask", "spark-submit"):
        # The test's own environment, wherever it lies.
        script = folder / ".venv/bin" / tool
        home = Path(sys.executable).parent
        script.write_text(f'#!/bin/sh\nexec "{home / tool}" "$@"\n')
        script.chmod(0o755)
    with zipfile.ZipFile(folder / "segpipe.zip", "w") as packed:
        for path in sorted((ROOT / "segpipe").rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                packed.write(path, path.relative_to(ROOT))
    (folder / "dist").mkdir()
    (folder / "segpipe.zip").rename(folder / "dist/segpipe.zip")
    return folder


def execute(script, folder, environ=None):
    """Run a block the way a reader does, and end what it left in the background."""
    log = folder / "said.log"
    with log.open("w") as out:
        child = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder), **(environ or {})},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = child.wait(timeout=900)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    assert code == 0, log.read_text()[-4000:]
    return log.read_text()


def test_every_block_is_marked_in_a_known_way():
    assert {mark for _, mark, _ in BLOCKS} == KNOWN
    assert {language for language, _, _ in BLOCKS} == {"bash", "python", "yaml"}


def test_laptop_commands(checkout):
    said = [execute(script, checkout) for script in blocks("bash", "")]
    assert len(said) == 4
    assert "K-Means or DBSCAN?" in said[3] and (checkout / "advice/advice.html").exists()
    assert (checkout / "labels.csv").read_text().count("\n") > 500
    assert "report.html" in said[0]
    for script in blocks("python", ""):
        (checkout / "example.py").write_text(script)
        told = execute(".venv/bin/python example.py", checkout)
        assert "customer_id" in told and "is_outlier" in told


def test_estimators(checkout):
    (script,) = blocks("python", "estimators")
    (checkout / "estimators.py").write_text(script)
    told = execute(".venv/bin/python estimators.py", checkout)
    assert "3 clusters" in told  # shops of three kinds were made
    assert "'feature': 'visits'" in told and "kmeans" in told
    assert (checkout / "out/shops/model.json").exists()


def test_bench_command(checkout):
    (script,) = blocks("bash", "bench")
    said = execute(script, checkout)
    assert "segpipe, labels only" in said and "times_base" in said


@pytest.mark.spark
def test_spark_commands(checkout):
    pytest.importorskip("pyspark")
    transactions(checkout)
    (script,) = blocks("bash", "spark")
    said = execute(script, checkout, {"JAVA_HOME": jdk.java_home(checkout)})
    assert '"engine": "spark"' in said and (checkout / "out/spark/_delta_log").is_dir()


@pytest.mark.dask
def test_dask_commands(checkout):
    pytest.importorskip("distributed")
    transactions(checkout)
    (script,) = blocks("bash", "dask")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    # A reader starts the job after the cluster is up.
    wait = f"until (: > /dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep .2; done; sleep 3\n"
    head, job = script.replace("8786", port).split("\n.venv/bin/python", 1)
    said = execute(f"{head}\n{wait}.venv/bin/python{job}", checkout)
    assert '"engine": "dask"' in said and (checkout / "out/dask/_delta_log").is_dir()


def transactions(checkout):
    if not (checkout / "data/transactions.parquet").exists():
        execute(blocks("bash", "")[0].splitlines()[0], checkout)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_demo_in_a_fresh_clone_with_an_empty_home(tmp_path):
    """Needs the package index that pip is set up with; results of the working tree, committed."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a repository")
    clone, home = tmp_path / "clone", tmp_path / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    (script,) = blocks("bash", "slow")
    keep = {"HOME": str(home), "PYTHONPATH": "", "JAVA_HOME": ""}
    said = execute(script, clone, keep)
    assert "customers: real transactions" in said and "planted attacks" in said
    assert len(re.findall(r"^report +(\S+report\.html)$", said, re.M)) == 2
    again = execute(script, clone, keep)
    assert "setup: installing" not in again
    # `scripts/package.sh` makes what the Spark section submits.
    execute("scripts/package.sh", clone, keep)
    with zipfile.ZipFile(clone / "dist/segpipe.zip") as packed:
        names = packed.namelist()
    assert "segpipe/cli.py" in names and "segpipe/report/report.html.j2" in names


def test_snippets_that_are_only_shown_are_valid():
    (airflow,) = blocks("python", "airflow")
    ast.parse(airflow)
    (shop,) = blocks("yaml", "")
    tree = yaml.safe_load(shop)
    tree.pop("extends")
    assert configfile.validate(tree).features.set == "rfm"


def test_the_config_table_has_every_key_with_its_default_first():
    rows = dict(re.findall(r"^\| `([\w.`, ]+)` \| (.*?) \|", TEXT, re.M))
    told = {name: value for names, value in rows.items() for name in names.split("`, `")}
    sections = {"source", "contract", "features", "fit", "outliers", "target", "report", "engine"}
    keys = {
        f"{section}.{key}"
        for section in sections
        for key in configs.Config.model_fields[section].annotation.model_fields
    }
    assert keys - told.keys() == set()
    for name in keys:
        section, key = name.split(".")
        field = configs.Config.model_fields[section].annotation.model_fields[key]
        choices = typing.get_args(field.annotation)
        if not field.is_required() and choices and isinstance(field.default, str):
            assert told[name].startswith(field.default), name


def test_the_label_table_is_told_in_full():
    for name in LABELS.names:
        assert f"| `{name}`" in TEXT, name


def test_links_and_pictures_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
    for script in set(re.findall(r"scripts/\w+\.sh", TEXT)):
        assert (ROOT / script).exists(), script
