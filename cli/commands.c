/* What the program can do, as tables: the help, the manual page, the parser and
 * docs/cli.md all come from here. */
#include <string.h>

#include "cli/cli.h"

const vonk_cli_exit vonk_cli_exits[] = {
    {VONK_EXIT_OK, "everything was done"},
    {VONK_EXIT_FAILED,
     "the framework failed while running, memory ran out, or a plug-in cannot be used"},
    {VONK_EXIT_USAGE, "the command line is wrong; nothing was read"},
    {VONK_EXIT_MODEL, "the model cannot be opened"},
    {VONK_EXIT_DATA, "the columns do not fit the model, or a row is bad"},
    {VONK_EXIT_FILES, "an input cannot be read or the output cannot be written"},
    {VONK_EXIT_INTERRUPTED, "interrupted from the keyboard (SIGINT)"},
    {VONK_EXIT_TERMINATED, "ended from outside (SIGTERM)"},
    {0, NULL},
};

#define MODEL_OPTIONS                                                                    \
  {"device", 0, "DEVICE",                                                                \
   "where the model runs: cpu (default), cuda, cuda:1, rocm:0; never falls back to "     \
   "another"},                                                                           \
      {"option", 0, "KEY=VALUE",                                                         \
       "an option of the plug-in ('vonk plugins' lists them); may be repeated"},         \
      {"plugin", 0, "NAME",                                                              \
       "use this plug-in (a name or an absolute path), not the one that recognises the " \
       "file"}
#define END_OPTIONS {NULL, 0, NULL, NULL}
#define END_EXAMPLES {NULL, NULL}

static const vonk_cli_option inspect_options[] = {
    {"json", 0, NULL, "print the same as one JSON object"},
    {"sha256", 0, NULL,
     "add the SHA-256 of the file; MODEL#sha256=DIGEST then accepts only this content"},
    MODEL_OPTIONS,
    END_OPTIONS,
};

static const vonk_cli_example inspect_examples[] = {
    {"What does this model want, what does it give?", "vonk inspect mnist.onnx"},
    {"The same for a script:", "vonk inspect mnist.onnx --json"},
    END_EXAMPLES,
};

static const vonk_cli_option run_options[] = {
    {NULL, 'o', "OUTPUT",
     "the file to write: .parquet, .csv, .tsv, .json, .jsonl or .ndjson; - writes CSV to "
     "the standard output. "
     "An existing file is replaced, at the very end and only if all went well"},
    {"input", 0, "TENSOR=COLUMN",
     "feed a column to an input of the model; may be repeated. TENSOR=A,B,C packs number "
     "columns in "
     "that order; TENSOR=COLUMN::FLOAT converts first, as DuckDB's CAST does; S.F is "
     "field F of S"},
    {"output", 0, "TENSOR=COLUMN",
     "keep this output of the model, in a column of that name; may be repeated. "
     "Without it all outputs are kept under their own names"},
    {"as", 0, "FORM",
     "what to make of the outputs: argmax (the index of the largest value)"},
    {"squeeze", 0, NULL,
     "write an output of one value a row as a number, not as a list of one"},
    {"select", 0, "COLUMNS",
     "the input's columns to keep in the output, separated by commas; '' keeps none. "
     "Default: all"},
    {"nulls", 0, "null|error",
     "a row with a NULL where the model needs a value: NULL predictions (default), or an "
     "error"},
    {"on-error", 0, "raise|null|report",
     "a row that cannot be scored: end with an error (default), NULL predictions, or "
     "NULL "
     "predictions and the reason in a column 'error'"},
    {"batch", 0, "N",
     "rows that the model gets at a time; default: chosen from its signature"},
    {"threads", 0, "N",
     "threads to read, predict and write with; default: the cores this process may use"},
    {"format", 0, "FORMAT",
     "the format of the inputs: parquet, csv or json; default: by the file's name, else "
     "by its content"},
    {"output-format", 0, "FORMAT",
     "the format of the output: parquet, csv or json; default: by the file's name"},
    {"stats", 0, NULL, "say at the end where the time went"},
    {"progress", 0, NULL, "show progress; the default on a terminal"},
    {"no-progress", 0, NULL, "show none"},
    {"quiet", 'q', NULL, "print nothing but errors"},
    MODEL_OPTIONS,
    END_OPTIONS,
};

static const vonk_cli_example run_examples[] = {
    {"A column 'pixels' feeds the input 'pixels'; the output has all columns and the "
     "predictions:",
     "vonk run mnist.onnx digits.parquet -o predictions.parquet"},
    {"The most likely digit instead of ten probabilities, beside the label only:",
     "vonk run mnist.onnx digits.parquet -o out.csv --as argmax --output "
     "probabilities=digit --select label"},
    {"Four number columns of a CSV file packed into one input:",
     "vonk run iris.onnx iris.csv -o out.csv --input "
     "'x=sl::FLOAT,sw::FLOAT,pl::FLOAT,pw::FLOAT'"},
    {"Many files, bad rows kept aside:",
     "vonk run model.onnx 'logs/*.parquet' -o scored.parquet --on-error report"},
    {"In a pipe:", "zcat rows.csv.gz | vonk run model.onnx - -o - | head"},
    END_EXAMPLES,
};

static const vonk_cli_option plugins_options[] = {
    {"json", 0, NULL, "print the same as one JSON array"},
    {"probe", 0, NULL,
     "load every plug-in and its framework in a process of its own, and say how that "
     "went"},
    {"conformance", 0, "PATH",
     "test the plug-in at PATH against the rules of the plug-in interface"},
    {"model", 0, "FILE",
     "a model for --conformance to run; without it only what needs none is tested"},
    END_OPTIONS,
};

static const vonk_cli_example plugins_examples[] = {
    {"Which model formats can be opened here?", "vonk plugins"},
    {"Why does a framework not load?", "vonk plugins --probe"},
    END_EXAMPLES,
};

static const vonk_cli_option bench_options[] = {
    {"rows", 0, "N",
     "rows of a pass; default 60,000 synthetic ones, or all rows of INPUT up to that"},
    {"batch", 0, "N",
     "rows that the model gets at a time, on both sides; default: chosen from its "
     "signature"},
    {"threads", 0, "N", "threads, on both sides; default 1"},
    {"seconds", 0, "S", "how long to measure; default 5"},
    {"input", 0, "TENSOR=COLUMN", "as for 'vonk run'"},
    {"format", 0, "FORMAT", "as for 'vonk run'"},
    {"json", 0, NULL, "print the same as one JSON object"},
    MODEL_OPTIONS,
    END_OPTIONS,
};

static const vonk_cli_example bench_examples[] = {
    {"What does vonk cost on top of the framework?", "vonk bench mnist.onnx"},
    END_EXAMPLES,
};

static const vonk_cli_option help_options[] = {
    {"man", 0, NULL, "print the manual page, in troff: vonk help --man | man -l -"},
    END_OPTIONS,
};
static const vonk_cli_example help_examples[] = {END_EXAMPLES};

const vonk_cli_command vonk_cli_commands[] = {
    {"inspect", "MODEL", "show what a model wants and gives",
     "Prints the inputs and outputs of a model file with their types and shapes, its "
     "size, what wrote it, and the framework "
     "that runs it. A dimension that may differ is shown by its name; the first one "
     "counts rows.",
     inspect_options, inspect_examples, 1, 1, vonk_cli_inspect},
    {"run", "MODEL INPUT... -o OUTPUT", "score a table with a model",
     "Reads the rows of INPUT, runs the model on them and writes a table with the "
     "input's columns and one column for each "
     "output of the model. The order of the rows is kept. Only the columns that are "
     "needed are read.\n\n"
     "INPUT is a Parquet, CSV (.csv, .tsv) or JSON (.json, .jsonl, .ndjson) file, "
     "compressed or not, a pattern in quotes such as "
     "'day=*/part-*.parquet', or - for the standard input. Several inputs are "
     "concatenated; their columns are matched by "
     "name.\n\n"
     "Columns meet the inputs of the model by name. A single list column feeds a single "
     "input; number columns can be packed with "
     "--input. Types and shapes are checked before the first row is read, and an error "
     "says what to write instead.",
     run_options, run_examples, 1, -1, vonk_cli_run},
    {"plugins", "", "list the model formats and frameworks that can be used here",
     "A plug-in teaches vonk one framework. Plug-ins are looked for in the folders of "
     "VONK_PLUGIN_PATH, then beside the "
     "program, in ../lib/vonk/plugins.",
     plugins_options, plugins_examples, 0, 0, vonk_cli_plugins},
    {"bench", "MODEL [INPUT]", "measure vonk against the bare framework",
     "Runs the model on rows from Arrow columns through vonk, and on tensors made "
     "beforehand through the framework alone, in "
     "turn, in one process, with the same batches and threads. Prints rows a second, "
     "processor time a row, and the ratio "
     "of the medians: 1.00 means that vonk costs nothing.",
     bench_options, bench_examples, 1, 2, vonk_cli_bench},
    {"help", "[COMMAND]", "explain a command", "Without a COMMAND, lists them.",
     help_options, help_examples, 0, 1, vonk_cli_help},
    {NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, NULL},
};

const vonk_cli_command *vonk_cli_find(const char *name) {
  for (const vonk_cli_command *c = vonk_cli_commands; c->name != NULL; c++) {
    if (strcmp(c->name, name) == 0) {
      return c;
    }
  }
  return NULL;
}
