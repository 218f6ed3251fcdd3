"""``vonk.spark.configure`` and the warning about Spark's default for Arrow input."""

import warnings

import pytest
from conftest import ROOT
from vonk.spark import _advice, configure, model_udf

IRIS = ROOT / "examples" / "iris" / "iris.onnx"
COLUMNAR = "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled"
OPEN_COST = "spark.sql.files.openCostInBytes"


@pytest.fixture
def fresh(spark, monkeypatch):
    """A session with Spark's defaults, whose application was not warned."""
    monkeypatch.setattr(_advice, "_warned", set())
    session = spark.newSession()
    for name in (COLUMNAR, OPEN_COST):
        session.conf.unset(name)
    return session


def warnings_of(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(one.message) for one in caught if COLUMNAR in str(one.message)]


def test_spark_has_the_default_that_is_warned_of(fresh):
    assert fresh.conf.get(COLUMNAR) == "true"


def test_model_udf_warns_once_and_names_the_line_to_write(fresh):
    first = warnings_of(lambda: model_udf(IRIS, spark=fresh))
    assert len(first) == 1
    assert f'spark.conf.set("{COLUMNAR}", "false")' in first[0]
    assert "Parquet" in first[0]
    assert warnings_of(lambda: model_udf(IRIS, spark=fresh)) == []


def test_warning_names_the_users_line(fresh):
    with pytest.warns(UserWarning, match="columnarInput") as caught:
        model_udf(IRIS, spark=fresh)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("value", ["true", "false"])
def test_setting_made_by_the_user_is_silent(fresh, value):
    fresh.conf.set(COLUMNAR, value)
    assert warnings_of(lambda: model_udf(IRIS, spark=fresh)) == []


def test_configure_is_silent_afterwards(fresh):
    configure(fresh)
    assert warnings_of(lambda: model_udf(IRIS, spark=fresh)) == []


def test_advice_about_rows_that_are_known_is_for_parquet_alone(fresh, tmp_path):
    made = fresh.range(10).selectExpr("id", "array(1f, 2f) AS x")
    made.write.parquet(str(tmp_path / "rows"))
    made.write.json(str(tmp_path / "parquet"))  # a name is not a format
    read = fresh.read.parquet(str(tmp_path / "rows"))
    assert warnings_of(lambda: _advice.advise(fresh, made)) == []
    assert warnings_of(lambda: _advice.advise(fresh, fresh.read.json(str(tmp_path / "parquet")))) == []
    assert len(warnings_of(lambda: _advice.advise(fresh, made.join(read.where("id > 3"), "id")))) == 1


def test_advice_never_raises():
    class Broken:
        @property
        def conf(self):
            raise RuntimeError("no session")

    assert warnings_of(lambda: _advice.advise(Broken())) == []


def test_configure_says_what_it_changed(fresh):
    default = fresh.conf.get(OPEN_COST)
    found = {setting.name: setting for setting in configure(fresh)}
    assert (found[COLUMNAR].before, found[COLUMNAR].after) == ("true", "false")
    assert found[OPEN_COST].before == default
    assert fresh.conf.get(COLUMNAR) == "false"
    assert fresh.conf.get(OPEN_COST) == found[OPEN_COST].after != default
    assert f"{COLUMNAR}: true -> false: " in str(found[COLUMNAR])


def test_configure_leaves_what_the_user_has_set_unless_forced(fresh):
    fresh.conf.set(OPEN_COST, "1000000")
    (left,) = [setting for setting in configure(fresh) if setting.name == OPEN_COST]
    assert (left.before, left.after, left.is_users) == ("1000000", "1000000", True)
    assert fresh.conf.get(OPEN_COST) == "1000000"
    (forced,) = [setting for setting in configure(fresh, force=True) if setting.name == OPEN_COST]
    assert forced.is_changed
    assert fresh.conf.get(OPEN_COST) == forced.after


def test_small_file_is_read_by_every_core_once_configured(fresh, tmp_path):
    """The default makes one partition of a file of 1 MB, by which one of two cores waits."""
    path = str(tmp_path / "rows")
    fresh.range(0, 100_000, numPartitions=1).selectExpr("id", "rand(1) AS x").write.parquet(path)
    assert fresh.read.parquet(path).rdd.getNumPartitions() == 1
    configure(fresh)
    assert fresh.read.parquet(path).rdd.getNumPartitions() == fresh.sparkContext.defaultParallelism
