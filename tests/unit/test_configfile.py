"""The config: layering, precedence, and every problem told at once."""

from pathlib import Path

import pytest
import yaml

from segpipe import configfile
from segpipe.errors import ConfigError, InputMissing

CONF = Path(__file__).parents[2] / "conf"


def write(path: Path, **tree):
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture
def small(tmp_path):
    return write(tmp_path / "c.yaml", source={"uri": "in"}, target={"uri": "out"})


@pytest.mark.parametrize("name", ["customers", "mall", "network", "palette"])
def test_the_scenario_files_are_valid(name):
    assert configfile.load(CONF / f"{name}.yaml", environ={}).job == name


@pytest.mark.parametrize("engine", ["local", "dask", "spark"])
def test_a_scenario_and_an_engine_file_combine(tmp_path, engine):
    both = [str(CONF / "customers.yaml"), str(CONF / "engine" / f"{engine}.yaml")]
    assert (
        configfile.load(write(tmp_path / "c.yaml", extends=both), environ={}).engine.name == engine
    )


def test_set_beats_environment_beats_file_beats_parent(tmp_path, small):
    child = tmp_path / "child.yaml"
    write(tmp_path / "c.yaml", source={"uri": "in"}, target={"uri": "out"}, fit={"k": 2}, seed=1)
    write(child, extends="c.yaml", fit={"k": 3})
    assert configfile.load(child, environ={}).fit.k == 3
    env = {"SEGPIPE__FIT__K": "4", "SEGPIPE__JOB": "nightly", "HOME": "/"}
    assert configfile.load(child, environ=env).fit.k == 4
    loaded = configfile.load(child, ["fit.k=5"], environ=env)
    assert (loaded.fit.k, loaded.job, loaded.seed) == (5, "nightly", 1)


def test_an_override_of_the_threshold_replaces_the_other_kind(small):
    loaded = configfile.load(small, ["outliers.threshold.top_n=7"], environ={})
    assert loaded.outliers.threshold.model_dump(exclude_none=True) == {"top_n": 7}


def test_dots_in_spark_keys_and_column_names_survive(small):
    loaded = configfile.load(
        small, ["engine.spark.spark.sql.shuffle.partitions=3", "source.columns.src=id.orig_h"], {}
    )
    assert loaded.engine.spark == {"spark.sql.shuffle.partitions": 3}
    assert loaded.source.columns == {"src": "id.orig_h"}


def test_every_problem_is_told_at_once(small):
    with pytest.raises(ConfigError) as caught:
        configfile.load(small, ["fit.kk=3", "fit.k=0", "engine.name=sparc", "seed=-1"], environ={})
    text = caught.value.message
    assert "did you mean 'k'" in text and "fit.k:" in text
    assert "sparc" in text and "seed" in text and "4 problem(s)" in text
    assert caught.value.code == 78


@pytest.mark.parametrize(
    "override",
    [
        "target.format=iceberg",
        "report.naming=llm",
    ],
)
def test_what_a_later_release_brings_is_refused_by_name(small, override):
    with pytest.raises(ConfigError, match="not in this version"):
        configfile.load(small, [override], environ={})


@pytest.mark.parametrize(
    ("library", "engine", "model"),
    [("mllib", "local", "auto"), ("dask-ml", "spark", "kmeans"), ("dask-ml", "dask", "gmm")],
)
def test_a_library_is_refused_where_it_does_not_run(small, library, engine, model):
    wish = [f"fit.library={library}", f"engine.name={engine}", f"fit.model={model}"]
    with pytest.raises(ConfigError, match=library):
        configfile.load(small, wish, environ={})


def test_yaml_that_says_a_key_twice_is_refused(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("source: {uri: a}\ntarget: {uri: b}\nseed: 1\nseed: 2\n")
    with pytest.raises(ConfigError, match="twice"):
        configfile.load(path, environ={})


def test_files_that_extend_each_other_are_refused(tmp_path):
    write(tmp_path / "a.yaml", extends=["b.yaml"])
    write(tmp_path / "b.yaml", extends=["a.yaml"])
    with pytest.raises(ConfigError, match="extends itself"):
        configfile.load(tmp_path / "a.yaml", environ={})


def test_an_absent_config_is_missing_input(tmp_path):
    with pytest.raises(InputMissing, match="no config file"):
        configfile.load(tmp_path / "none.yaml", environ={})


@pytest.mark.parametrize(
    "override", ["fit.library=sklearn", "outliers.method=mass", "features.scale=robust"]
)
def test_what_an_image_has_no_use_for_is_refused(override):
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        configfile.load(CONF / "palette.yaml", [override], environ={})
