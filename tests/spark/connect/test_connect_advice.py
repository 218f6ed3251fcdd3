"""``vonk.spark.configure`` and the warning about Spark's default for Arrow input, through Spark Connect."""

import warnings

from vonk.spark import _advice, configure

COLUMNAR = "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled"


def warnings_of(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(one.message) for one in caught if COLUMNAR in str(one.message)]


def test_default_is_warned_of_over_parquet_until_it_is_configured(spark, tmp_path, monkeypatch):
    monkeypatch.setattr(_advice, "_warned", set())
    spark.conf.unset(COLUMNAR)
    made = spark.range(10).selectExpr("id", "array(1f, 2f) AS x")
    made.write.parquet(str(tmp_path / "rows"))
    read = spark.read.parquet(str(tmp_path / "rows"))
    assert warnings_of(lambda: _advice.advise(spark, made)) == []
    found = warnings_of(lambda: _advice.advise(spark, read))
    assert len(found) == 1
    assert f'spark.conf.set("{COLUMNAR}", "false")' in found[0]
    _advice._warned.clear()
    changed = {setting.name: (setting.before, setting.after) for setting in configure(spark)}
    try:
        assert changed[COLUMNAR] == ("true", "false")
        assert warnings_of(lambda: _advice.advise(spark, read)) == []
    finally:
        for name in changed:
            spark.conf.unset(name)
