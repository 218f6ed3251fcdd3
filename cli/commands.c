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
    {VONK_EXIT_DATA,
     "the columns do not fit the model, a row is bad, or a statement of SQL is wrong"},
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
       "file"},                                                                          \
      {"signature", 0, "KEY",                                                            \
       "the signature to use of a model that has several, as TensorFlow's SavedModels "  \
       "may ('vonk inspect' names them)"}
#define END_OPTIONS {NULL, 0, NULL, NULL}
#define END_EXAMPLES {NULL, NULL}

static const vonk_cli_option inspect_options[] = {
    {"json", 0, NULL, "print the same as one JSON object"},
    {"sha256", 0, NULL,
     "add the SHA-256 of the file, or of all files of a folder; MODEL#sha256=DIGEST then "
     "accepts only this content"},
    {"selftest", 0, NULL,
     "of a bundle: predict the rows it holds and compare with what the original model "
     "gave "
     "where it was packed"},
    MODEL_OPTIONS,
    END_OPTIONS,
};

static const vonk_cli_example inspect_examples[] = {
    {"What does this model want, what does it give?", "vonk inspect mnist.onnx"},
    {"The same for a script:", "vonk inspect mnist.onnx --json"},
    {"Another of the signatures of a SavedModel:",
     "vonk inspect saved_model --signature embed"},
    {"Does a bundle predict here what it predicted where it was packed?",
     "vonk inspect digit.vonk --selftest"},
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
     "what to make of the classes along an output's last dimension: argmax (the index of "
     "the largest value), label (its label, of a bundle that has labels), or topN, such "
     "as top5 (the N largest with index, label and score)"},
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
    {"The three most likely classes with the labels of a bundle:",
     "vonk run digit.vonk digits.parquet -o out.jsonl --as top3"},
    {"Four number columns of a CSV file packed into one input:",
     "vonk run iris.onnx iris.csv -o out.csv --input "
     "'x=sl::FLOAT,sw::FLOAT,pl::FLOAT,pw::FLOAT'"},
    {"Many files, bad rows kept aside:",
     "vonk run model.onnx 'logs/*.parquet' -o scored.parquet --on-error report"},
    {"In a pipe:", "zcat rows.csv.gz | vonk run model.onnx - -o - | head"},
    END_EXAMPLES,
};

static const vonk_cli_option sql_options[] = {
    {"model", 'm', "[NAME=]PATH",
     "open a model and make it the functions NAME(...) and try_NAME(...); may be "
     "repeated. Without NAME= the file's name is taken. $VONK_MODELS names more"},
    {"as", 0, "[NAME=]FORM",
     "what to make of the outputs of the models given with -m, or of one of them: argmax "
     "(the index of the largest value), label (its label, of a bundle that has labels), "
     "or "
     "topN, such as top5 (the N largest with index, label and score)"},
    {"file", 'f', "FILE", "read the statements from FILE; - is the standard input"},
    {"database", 0, "FILE",
     "work in this database of DuckDB; it is made if it is not there. Default: an empty "
     "one in memory"},
    {"readonly", 0, NULL, "change nothing in it"},
    {NULL, 'o', "OUTPUT",
     "write the last result to a file: .parquet, .csv, .tsv, .json, .jsonl or .ndjson; "
     "an existing one is replaced, at the very end and only if all went well. - writes "
     "each result to the standard output, as CSV"},
    {"output-format", 0, "FORMAT",
     "the format of -o: parquet, csv, tsv, json or jsonl; default: by the file's name"},
    {"box", 0, NULL, "draw each result as a box; the default on a terminal"},
    {"csv", 0, NULL, "print each result as CSV; the default where there is no terminal"},
    {"json", 0, NULL, "print each result as an array of JSON objects"},
    {"rows", 0, "N",
     "how many rows of a result a box shows, the first and the last ones; 0 = all; "
     "default 40"},
    {"threads", 0, "N", "threads to work with; default: the cores this process may use"},
    {"shell", 0, NULL,
     "start DuckDB's own shell with vonk loaded, the models of -m registered and the "
     "database opened"},
    {"progress", 0, NULL, "show progress; the default on a terminal"},
    {"no-progress", 0, NULL, "show none"},
    {"quiet", 'q', NULL, "print nothing but results and errors"},
    MODEL_OPTIONS,
    END_OPTIONS,
};

static const vonk_cli_example sql_examples[] = {
    {"What is in a file, what does a model make of it?",
     "vonk sql -m digit=mnist.onnx --as argmax \"FROM 'digits.parquet' SELECT label, "
     "digit(pixels) LIMIT 5\""},
    {"Count by prediction:",
     "vonk sql -m digit=mnist.onnx --as argmax \"SELECT digit(pixels) AS d, count(*) "
     "FROM "
     "'digits.parquet' GROUP BY d ORDER BY d\""},
    {"Filter on a prediction that is also selected: OFFSET 0 keeps DuckDB from moving "
     "the "
     "filter in front, where the model would run once more:",
     "vonk sql -m digit=mnist.onnx --as argmax -o sevens.parquet \"WITH p AS (SELECT *, "
     "digit(pixels) AS d FROM 'digits.parquet' OFFSET 0) SELECT * FROM p WHERE d = 7\""},
    {"Keep the predictions in a database, join them later:",
     "vonk sql -m digit=mnist.onnx --as argmax --database scores.db \"CREATE TABLE s AS "
     "SELECT id, digit(pixels) AS d FROM 'digits.parquet'\""},
    {"Rows without a prediction, and why:",
     "vonk sql -m digit=mnist.onnx \"WITH p AS MATERIALIZED (SELECT id, "
     "try_digit(pixels) "
     "AS r FROM 'digits.parquet') SELECT id, r.error FROM p WHERE r.error IS NOT NULL\""},
    {"A file of statements, the last result as JSON:",
     "vonk sql -m mnist.onnx -f report.sql -o report.json"},
    {"Type SQL:", "vonk sql -m digit=mnist.onnx --shell"},
    END_EXAMPLES,
};

static const vonk_cli_option pack_options[] = {
    {NULL, 'o', "NAME.vonk",
     "the bundle to write. An existing one is replaced, at the very end and only if all "
     "went well"},
    {"to", 0, "FORMAT",
     "the format of the model in the bundle: savedmodel or onnx for Keras; onnx, "
     "torchscript or aotinductor for PyTorch. Default: what keeps the numbers and runs "
     "fast; formats that vonk runs are kept as they are"},
    {"input", 0, "NAME:DTYPE[DIMS]",
     "an input, such as image:f32[-1,3,224,224]; -1 is free, the first dimension counts "
     "rows. Needed where the source does not say its inputs, as PyTorch's modules; may "
     "be repeated, in the order of the model"},
    {"output", 0, "OLD=NEW",
     "give an output another name; NAME alone chooses it, of a graph that does not say "
     "its outputs; may be repeated"},
    {"labels", 0, "[OUTPUT=]FILE",
     "the classes of an output's last dimension, one a line; OUTPUT may be left out if "
     "only one fits"},
    {"preprocess", 0, "STEP",
     "a step before the model: rescale:scale=1/255 or "
     "normalize:mean=[0.485,0.456,0.406],std=0.225,axis=1; with several inputs of "
     "numbers, also input=NAME. Or a .json file of steps; may be repeated, in order"},
    {"name", 0, "TEXT", "the model's name; default: that of the file"},
    {"description", 0, "TEXT", "what it does, in a sentence"},
    {"licence", 0, "TEXT", "its licence, as an SPDX identifier such as Apache-2.0"},
    {"signature", 0, "KEY", "the signature to take of a SavedModel that has several"},
    {"tolerance", 0, "X",
     "the largest difference from the original to accept, |found - expected| / max(1, "
     "|expected|); default 1e-5, or 1e-3 for a model with float16 or bfloat16 tensors"},
    {"samples", 0, "FILE",
     "rows to compare on besides random ones, and for the self-test: an .npz with an "
     "array for each input, or an .npy for a single input"},
    {"module", 0, "FILE.py:CLASS",
     "the class whose weights a file of weights holds, or a function that makes the "
     "module; also package.module:CLASS. FILE.py alone is run for the Keras classes that "
     "it registers"},
    {"trust", 0, NULL,
     "let code in the source run: pickles, Keras' Lambda. Only for files whose author "
     "you trust"},
    {"folder", 0, NULL, "write a folder instead of a file"},
    {"json", 0, NULL, "print what was done as one JSON object"},
    {"verbose", 0, NULL, "let through what the frameworks print"},
    {"quiet", 'q', NULL, "print nothing but errors"},
    END_OPTIONS,
};

static const vonk_cli_example pack_examples[] = {
    {"A Keras model with the names of its classes:",
     "vonk pack digit.keras -o digit.vonk --labels classes.txt"},
    {"The weights of a PyTorch module, whose class is in net.py:",
     "vonk pack weights.pt -o net.vonk --module net.py:Net --input "
     "'image:f32[-1,3,224,224]' --output output=probabilities"},
    {"Pixels from 0 to 255 as the model was trained on them:",
     "vonk pack digit.onnx -o digit.vonk --preprocess rescale:scale=1/255"},
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
    {"option", 0, "KEY=VALUE",
     "an option of the plug-in that --model needs; may be repeated"},
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
     "Prints the inputs and outputs of a model, which is a file or a folder, with their "
     "types and shapes, its size, what wrote it, and the framework that runs it. A "
     "dimension that may differ is shown by its name; the first one "
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
    {"sql", "[QUERY]", "run SQL with models as functions",
     "Runs SQL statements, separated by ';', with DuckDB. QUERY is the text; - or -f "
     "reads "
     "it from the standard input or a file. Tables are files ('digits.parquet', "
     "'logs/*.csv'), tables of the database, or what DuckDB's functions give.\n\n"
     "Each model given with -m is a function of its own name that takes columns as the "
     "model takes them: a list column, as many number columns as the row has elements, "
     "or "
     "one argument for each input. try_NAME gives a struct of value and error, and never "
     "ends the query for a bad row. FROM vonk_load(...) loads models with more options, "
     "FROM vonk_models() lists them, FROM 'model.onnx' describes one. All of this is in "
     "docs/sql.md.\n\n"
     "The text is parsed whole before anything is run. A statement that fails is shown "
     "with the place of the error, and ends the run; what statements before it did stays "
     "done.",
     sql_options, sql_examples, 0, 1, vonk_cli_query},
    {"pack", "SRC -o NAME.vonk", "pack a model of any framework into one safe file",
     "Packs a model of any framework into a bundle: one file with the model in a format "
     "that vonk runs, its names, labels, preprocessing, licence and a self-test. SRC is "
     "a Keras model (.keras, .h5), a SavedModel's folder, a frozen graph (.pb) or a "
     ".meta file of TensorFlow, an ONNX model, a file of PyTorch's (.pt2, .pt, .pth), or "
     "a pickled scikit-learn estimator.\n\nThe bundle is opened, and its predictions for "
     "random rows, and for those of --samples, are compared with the original's. The "
     "largest difference is printed; above --tolerance nothing is written. Code in the "
     "source is not run, with the exception of --module and --trust.\n\nPacking runs in "
     "Python, where the model's framework has to be installed: VONK_PYTHON, else the one "
     "beside this program. docs/pack.md is the guide.",
     pack_options, pack_examples, 1, 1, vonk_cli_pack},
    {"plugins", "", "list the model formats and frameworks that can be used here",
     "A plug-in teaches vonk one framework. Listed are its formats and options, and "
     "whether the framework itself works here; if not, how to get it. Each framework is "
     "loaded for that in a process of its own. Plug-ins are looked for in the folders of "
     "VONK_PLUGIN_PATH, then beside the program, in ../lib/vonk/plugins.",
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
