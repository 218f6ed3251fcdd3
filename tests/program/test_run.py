"""The tests of `vonk run` that say most about memory and threads, on the program of this build, with its sanitizers.

tests/python holds them all and runs them on the installed program.
"""
# ruff: noqa: F401, I001  (what pytest collects here is what is imported)

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from test_cli_output import quick, slow, test_a_full_standard_output_is_an_error, test_an_interrupted_run_leaves_nothing
from test_cli_run import (
    broken,
    expected,
    folder,
    test_a_cast_that_fails_is_about_the_rows,
    test_a_clash_of_names_says_what_to_write,
    test_columns_that_no_tensor_can_hold_are_passed_through,
    test_csv_through_a_pipe,
    test_every_number_type_passes_unchanged,
    test_formats_can_be_mixed,
    test_nested_lists_and_outputs_of_higher_rank,
    test_parquet_predictions_are_bit_equal_and_in_order,
    test_report_gives_every_bad_row_its_reason_and_keeps_the_others,
    test_strings_and_categories_pass_unchanged,
    test_struct_fields_feed_inputs_and_two_outputs_become_columns,
    test_the_first_bad_row_is_named_whatever_the_threads,
)
from test_cli_inspect import mlp, test_bench_measures_both_sides, test_json_says_what_the_onnx_package_says
