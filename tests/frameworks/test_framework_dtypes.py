"""Every dtype in every framework, in and out, against what the framework says in Python; and docs/dtypes.md, which
tells the results.

`python tests/frameworks/test_framework_dtypes.py --write` writes docs/dtypes.md anew.
"""

from __future__ import annotations

from typing import Any

import networks as nets
import pyarrow as pa
import pytest
import zoo
from cells import ARROW, MAKERS, UNSUPPORTED, Cell, VonkError, same_bits, values_of

PAGE = nets.ROOT / "docs" / "dtypes.md"


def case(maker: str, *values: Any) -> Any:
    here = pytest.mark.skipif(not zoo.is_here(maker), reason=f"{maker}: not installed")
    return pytest.param(maker, *values, marks=here, id="-".join([maker, *map(str, values)]))


SUPPORTED = [
    case(maker, dtype, shape)
    for maker in MAKERS
    for dtype in nets.DTYPES
    for shape in nets.SHAPES
    if (maker, dtype) not in UNSUPPORTED
]


def expected_type(dtype: str, shape: str) -> pa.DataType:
    type_ = ARROW[dtype]
    for n in reversed(nets.SHAPES[shape][1:]):
        type_ = pa.list_(pa.field("item", type_), n)
    return type_


@pytest.mark.parametrize(("maker", "dtype", "shape"), SUPPORTED)
def test_all_rows_come_out_as_the_framework_gives_them(maker: str, dtype: str, shape: str) -> None:
    cell = Cell(maker, dtype, shape)
    found = cell.predict(cell.rows())
    assert found.type == expected_type(dtype, shape)
    same_bits(values_of(found, shape), cell.expected() if shape != "fixed" else nets.sample(dtype, shape), str(cell))


@pytest.mark.parametrize(("maker", "dtype", "shape"), SUPPORTED)
def test_null_rows_are_null_and_the_others_keep_their_bits(maker: str, dtype: str, shape: str) -> None:
    cell = Cell(maker, dtype, shape)
    nulls = (0, 5, 6, nets.ROWS - 1)
    found = cell.predict(cell.rows(nulls=nulls))
    assert [i for i in range(nets.ROWS) if not found[i].is_valid] == list(nulls)
    good = [i for i in range(nets.ROWS) if i not in nulls]
    same_bits(values_of(found.take(pa.array(good)), shape), nets.sample(dtype, shape)[good], "rows beside NULLs")


@pytest.mark.parametrize(("maker", "dtype", "shape"), SUPPORTED)
@pytest.mark.parametrize("rows", [0, 1])
def test_no_row_and_one_row(maker: str, dtype: str, shape: str, rows: int) -> None:
    cell = Cell(maker, dtype, shape)
    found = cell.predict(cell.rows(rows))
    assert found.type == expected_type(dtype, shape)
    assert len(found) == rows
    same_bits(values_of(found, shape), nets.sample(dtype, shape)[:rows], f"{rows} rows")


@pytest.mark.parametrize(("maker", "dtype"), [case(*pair) for pair, message in UNSUPPORTED.items() if message], ids=str)
def test_what_is_not_supported_says_so(maker: str, dtype: str) -> None:
    with pytest.raises(VonkError) as caught:
        Cell(maker, dtype, "vector").open()
    assert caught.value.message == UNSUPPORTED[maker, dtype]
