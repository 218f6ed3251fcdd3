"""Settings of Spark that a model's speed depends on: :func:`configure` applies them, :func:`advise` warns of one.

How it works: all of them can be changed in a running session, and a setting that the user has made, in whatever way, is
left alone: Spark tells a setting that was made from a default. docs/spark.md has the figures behind them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from vonk.spark import _session

COLUMNAR = "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled"

#: A relation in the text of a plan: "+- Relation spark_catalog.default.t[id#0L,x#1] parquet".
_PARQUET = re.compile(r"^\W*Relation(V2)?\b.*\bparquet\b", re.MULTILINE | re.IGNORECASE)

#: Applications and Connect sessions that were warned.
_warned: set[Hashable] = set()


@dataclass(frozen=True)
class Setting:
    """A setting that :func:`configure` looked at.

    Attributes
    ----------
    name
        Of the setting.
    before, after
        Its values; the same if it was left.
    why
        What it does to a model's speed.
    is_users
        Whether the user has made it, so that it was left unless forced.
    """

    name: str
    before: str | None
    after: str | None
    why: str
    is_users: bool = False

    @property
    def is_changed(self) -> bool:
        return self.before != self.after

    def __str__(self) -> str:
        if self.is_changed:
            return f"{self.name}: {self.before} -> {self.after}: {self.why}"
        return f"{self.name}: {self.before}, {'as you set it' if self.is_users else 'already so'}"


class Settings(tuple[Setting, ...]):
    """What :func:`configure` did, one line each when printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(map(str, self))


@dataclass(frozen=True)
class _Advice:
    name: str
    value: str
    why: str


_ADVISED = (
    _Advice(
        COLUMNAR,
        "false",
        "over Parquet, which Spark does not read as Arrow, it makes small batches and costs more than rows",
    ),
    _Advice(
        "spark.sql.files.openCostInBytes",
        "65536",
        "a file of a few megabytes becomes one partition per core instead of one: a model's time is in its rows, not"
        " in opening files",
    ),
)


def configure(spark: SparkSession, *, force: bool = False) -> Settings:
    """Applies the settings that models run faster with to a session.

    Parameters
    ----------
    spark
        The session, classic or Connect.
    force
        Also changes settings that you have made yourself.

    Returns
    -------
    Settings
        A tuple of :class:`Setting`, with what was changed, from what, and why; ``print`` it. Settings that this
        Spark does not know, or does not change in a running session, are not in it.

    Examples
    --------
    >>> print(vonk.spark.configure(spark))  # doctest: +SKIP
    """
    return Settings(filter(None, (_apply(spark, advice, force) for advice in _ADVISED)))


def _apply(spark: SparkSession, advice: _Advice, force: bool) -> Setting | None:
    if not spark.conf.isModifiable(advice.name):
        return None
    users = _session.setting(spark, advice.name)
    before = spark.conf.get(advice.name)
    if users is not None and not force:
        return Setting(advice.name, before, before, advice.why, is_users=True)
    spark.conf.set(advice.name, advice.value)
    return Setting(advice.name, before, advice.value, advice.why, is_users=users is not None)


def advise(spark: SparkSession, rows: DataFrame | None = None, stacklevel: int = 3) -> None:
    """Warns, once per session, of the one default that slows models down. Never raises.

    Parameters
    ----------
    spark
        The session.
    rows
        What is predicted for, where it is known: there is no warning if it does not come from Parquet.
    stacklevel
        Of :func:`warnings.warn`: whose line the warning names; 3 is the caller of who calls this.
    """
    try:
        key = _session.files_key(spark)
        if key in _warned or not _is_costly(spark) or (rows is not None and not is_parquet(rows)):
            return
        _warned.add(key)
    except Exception:  # a session that does not know the setting, or is gone: nothing to say
        return
    where = "the rows come from Parquet, and" if rows is not None else "if the rows come from Parquet,"
    warnings.warn(
        f"{COLUMNAR}: {where} this default of Spark's costs a model's function 30 to 40 % of its speed:"
        f' spark.conf.set("{COLUMNAR}", "false"), or vonk.spark.configure(spark), turns it off; setting it to "true"'
        " keeps it without this warning",
        UserWarning,
        stacklevel=stacklevel,
    )


def _is_costly(spark: SparkSession) -> bool:
    """Whether the setting is on, and nobody has said that it should be."""
    return _session.setting(spark, COLUMNAR) is None and spark.conf.get(COLUMNAR) == "true"


def is_parquet(rows: DataFrame) -> bool:
    """Whether a Parquet file is among what a DataFrame is made of. Reads no rows and no lists of files."""
    frame: Any = rows
    if _session.is_connect(rows.sparkSession):
        plan = frame._explain_string(mode="extended")
    else:
        plan = frame._jdf.queryExecution().analyzed().toString()
    return _PARQUET.search(plan) is not None
