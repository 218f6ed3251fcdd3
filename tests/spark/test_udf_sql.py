"""``vonk.spark.register``: models as functions of SQL."""

import numpy
import pytest
import vonk
from udf_models import FLOWERS, IRIS, run, save, sides
from vonk.spark import model_udf, register

SPECIES = run(IRIS, measurements=FLOWERS)["species"].tolist()


@pytest.fixture(scope="module")
def sql(spark):
    rows = [(i, row.tolist(), *map(float, row)) for i, row in enumerate(FLOWERS)]
    schema = "id int, x array<float>, a double, b float, c double, d float"
    spark.createDataFrame(rows, schema).coalesce(1).createOrReplaceTempView("flowers")
    register(spark, "species", IRIS, outputs=["species"])
    return lambda query: [tuple(row) for row in spark.sql(query).collect()]


def test_select_where_group_by_join_and_window(sql):
    assert sql("SELECT species(x) FROM flowers ORDER BY id") == [(name,) for name in SPECIES]
    assert sql("SELECT id FROM flowers WHERE species(x) = 'setosa'") == [(SPECIES.index("setosa"),)]
    assert sql("SELECT species(x) AS s, count(*) FROM flowers GROUP BY species(x) ORDER BY s") == [
        (name, SPECIES.count(name)) for name in sorted(set(SPECIES))
    ]
    joined = sql("SELECT l.id, r.id FROM flowers l JOIN flowers r ON species(l.x) = species(r.x) ORDER BY 1, 2")
    assert joined == [(i, k) for i, p in enumerate(SPECIES) for k, q in enumerate(SPECIES) if p == q]
    ranked = sql("SELECT id, row_number() OVER (PARTITION BY species(x) ORDER BY id) FROM flowers ORDER BY id")
    assert ranked == [(i, SPECIES[: i + 1].count(name)) for i, name in enumerate(SPECIES)]


def test_arguments_are_columns_literals_structs_and_names(sql):
    first = (SPECIES[0],)
    calls = ["species(a, b, c, d)", "species(struct(a, b, c, d))", "species(measurements => x)", "species(vec)"]
    found = sql(f"SELECT {', '.join(calls)} FROM (SELECT *, array(a, b, c, d) AS vec FROM flowers WHERE id = 0)")
    assert found == [first * len(calls)]
    assert sql("SELECT species(array(5.1, 3.5, 1.4, 0.2)), species(5.1, 3.5, 1.4, 0.2)") == [first * 2]
    assert sql("SELECT species(array(5, 3, 1, 0)), species(CAST(NULL AS array<float>))") == [("setosa", None)]


def test_named_arguments_meet_inputs_by_name(spark, tmp_path):
    path = save(sides(), tmp_path / "sides.onnx")
    register(spark, "total", path, outputs=["sum"])
    image = numpy.arange(6, dtype="f4").reshape(1, 2, 3)
    expected = run(path, image=image, scale=numpy.array([10], "f4"))["sum"].tolist()
    text = "array(array(0, 1, 2), array(3, 4, 5))"
    query = f"SELECT total({text}, 10) AS a, total(scale => 10, image => {text}) AS b"
    assert [tuple(row) for row in spark.sql(query).collect()] == [(expected[0], expected[0])]


def test_what_register_gives_is_the_function_for_dataframes(spark, sql):
    made = model_udf(IRIS, outputs=["species"], spark=spark)
    given = register(spark, "kinds", made)
    assert given is made
    rows = spark.table("flowers").orderBy("id").selectExpr("kinds(x) AS k", "x").select("k", given("x").alias("s"))
    assert [tuple(row) for row in rows.collect()] == [(name, name) for name in SPECIES]
    with pytest.raises(vonk.InvalidError, match="on_error cannot be changed: give them to model_udf"):
        register(spark, "kinds", made, on_error="null")


def test_a_call_that_does_not_fit_says_so(sql):
    with pytest.raises(Exception, match=r"column 'argument 1': is string, input 'measurements' wants float32\[4\]"):
        sql("SELECT species('text')")
    with pytest.raises(Exception, match=r"iris\.onnx \(partition \d+\): .*no column clearly belongs to it"):
        sql("SELECT species(a, b) FROM flowers")
