/* What a predictor knows before any row is read, and what one call works with. Only for
 * the files of src/predict/. */
#ifndef VONK_PREDICT_PLAN_H
#define VONK_PREDICT_PLAN_H

#include <pthread.h>
#include <stdatomic.h>

#include "arrow/arrow.h"
#include "base/base.h"
#include "model/model.h"
#include "plugin/plugin.h"
#include "vonk/vonk.h"

enum {
  MAX_PATH = 8
}; /* nesting of structs from a column to the field that feeds an input */

/* One top-level column of the bound schema. */
typedef struct column_type {
  vonk_type type;
  vonk_error *unreadable; /* why no tensor can hold it; NULL = readable. An error only if
                             it is asked for */
} column_type;

/* How a column's elements become a tensor's. */
typedef enum {
  FORM_PLAIN,   /* as they are, or by vonk_dtype_convert; text, too */
  FORM_RAW,     /* a binary value is a row: its numbers as the tensor has them */
  FORM_SIGNED,  /* signed integers for an unsigned tensor, if they fit */
  FORM_DECIMAL, /* decimals for a float tensor */
} source_form;

/* One column (or field) that feeds an input. */
typedef struct source {
  char *name;             /* as in messages: "x", "s.f" */
  int64_t path[MAX_PATH]; /* top-level column, then field indices */
  size_t path_size;
  const vonk_type *type; /* of the column; borrowed from the predictor's columns */
  const vonk_type *leaf; /* of its elements: below the lists, a dictionary's values */
  source_form form;
  int32_t depth;  /* levels of lists */
  bool has_views; /* a list view: rows may lie anywhere */
} source;

/* One step of preprocessing, with its numbers in the input's dtype. */
typedef struct step_plan {
  vonk_step_kind kind;
  int32_t axis;  /* counted with the rows as 0 */
  size_t n;      /* 1, or the size of that dimension */
  size_t period; /* numbers in a and b: the n of them, repeated */
  void *a, *b;
} step_plan;

typedef struct input_plan {
  const vonk_io *io;
  const vonk_dtype_info *dtype;
  source *sources; /* 1, or one per packed scalar column */
  size_t n_sources;
  int32_t rank;                 /* of one row: the model's less the batch */
  int64_t shape[VONK_MAX_RANK]; /* of one row; -1 = free */
  int64_t row_elements;         /* -1 if a dimension is free */
  bool may_borrow;  /* one source whose elements, or bytes, are the tensor's; no step */
  step_plan *steps; /* of preprocessing, in order */
  size_t n_steps;
} input_plan;

/* What a row's last dimension becomes. */
typedef enum { AS_TENSOR, AS_LARGEST, AS_LABEL, AS_TOP } as_kind;

/* One of the N largest, as results hold it until it becomes a struct of columns. */
typedef struct class_entry {
  int64_t index;
  union {
    uint64_t key;     /* while they are looked for */
    uint8_t score[8]; /* an element of result_type */
  } u;
} class_entry;

typedef struct output_plan {
  uint32_t index; /* in the model's order */
  const vonk_io *io;
  char *name;                         /* of the result's column */
  const vonk_dtype_info *tensor_type; /* what the model yields */
  const vonk_dtype_info *result_type; /* what results hold: AS_LARGEST and AS_LABEL the
                                         index, AS_TOP the score beside it */
  size_t element_size; /* of a result's element, in bytes: AS_TOP that of class_entry */
  int32_t tensor_rank; /* of one row */
  int64_t tensor_shape[VONK_MAX_RANK];
  int64_t tensor_elements; /* of one row; -1 if a dimension is free */
  as_kind as;
  int64_t top;               /* AS_TOP: entries at most */
  const char *const *labels; /* of the last dimension; NULL = none. The model's */
  uint32_t n_labels;
  int32_t rank;                 /* of one row of the result: after `as` and squeeze */
  int64_t shape[VONK_MAX_RANK]; /* -1 = free */
  bool is_list[VONK_MAX_RANK];  /* a list with offsets, even where all have one length */
  int64_t row_elements;
  bool is_dense;  /* every row has the same number of elements, so rows have their place
                     beforehand */
  bool is_direct; /* dense, and the model's bytes are the column's: the framework writes
                     into the result */
} output_plan;

typedef struct counters {
  _Atomic uint64_t rows, null_rows, error_rows, micro_batches, bytes_in, bytes_copied;
  _Atomic uint64_t convert_ns, infer_ns, emit_ns, wait_ns;
  _Atomic uint32_t max_threads;
} counters;

/* What one thread needs to run a micro-batch, and the calling one for its call; kept by
 * the predictor between calls, so that a call of one row allocates its result only. */
typedef struct workspace {
  struct workspace *next;
  size_t n_inputs, n_outputs;
  uint64_t clock;               /* when its last piece of work ended */
  struct input_view *views;     /* of the call: of the predictor's inputs */
  struct source_view *sources;  /* of these, all in a row */
  struct output_result *placed; /* of the call: per output of the predictor */
  vonk_buffer *values;          /* per input: gathered elements */
  vonk_buffer *offsets;         /* per input: gathered text offsets */
  vonk_buffer *
      results; /* per output: what the framework writes when it cannot go to the result */
  vonk_buffer elements; /* one column's elements on their way into a packed tensor */
  vonk_tensor *inputs, *outputs; /* outputs: of the model, wanted or not */
  const vonk_tensor **input_table;
  vonk_tensor **output_table;
  int64_t (*input_shapes)[VONK_MAX_RANK];
  int64_t (*output_shapes)[VONK_MAX_RANK];
  int64_t *rows_in, *rows_out; /* batch_rows of each */
} workspace;

struct vonk_predictor {
  _Atomic int64_t references;
  vonk_model *model;
  const vonk_plugin_v1 *api;
  column_type *columns;
  size_t n_columns;
  int64_t *used_columns;
  size_t n_used_columns;
  input_plan *inputs;
  size_t n_inputs;
  output_plan *outputs;
  size_t n_outputs;
  int32_t nulls, row_errors, advice;
  bool squeeze, half_as_float, sql_casts, variable_lists, signed_integers;
  bool groups_rows;    /* an input has a free dimension: rows of one shape run together */
  int64_t fixed_batch; /* 0 = free */
  int64_t batch_rows;  /* of a micro-batch */
  int64_t batch_bytes; /* of a micro-batch's tensors, at most */
  vonk_cancel_source *cancel;
  counters *counters;
  pthread_mutex_t *workspace_mutex;
  workspace **workspaces; /* idle ones */
};

/* predictor.c: one more reference, given back with vonk_predictor_release. */
vonk_predictor *vonk_predictor_retain(const vonk_predictor *);

/* --- making a predictor --- */

/* signature.c: rows, batches and shapes as the model has them; sets inputs' and outputs'
 * model side and fixed_batch. */
vonk_status vonk_plan_signature(vonk_predictor *, vonk_error *err);
/* signature.c: batch_rows, after shapes are known. */
void vonk_plan_batch(vonk_predictor *, int64_t batch_rows, int64_t batch_bytes);
/* signature.c: bytes of one row's tensors, given the free dimensions of all inputs in
 * order; NULL = a guess. Free dimensions of outputs are taken to be as long as the
 * inputs' longest. */
int64_t vonk_plan_row_bytes(const vonk_predictor *, const int64_t *free_dims);
/* match.c: which columns feed which input. */
vonk_status vonk_plan_match(vonk_predictor *, const vonk_bind_options *, vonk_error *err);
/* fit.c: dtypes and shapes of those columns against the inputs. */
vonk_status vonk_plan_fit(vonk_predictor *, vonk_error *err);
/* steps.c: the inputs' preprocessing, after shapes are known; and its end. */
vonk_status vonk_plan_steps(vonk_predictor *, vonk_error *err);
void vonk_steps_clear(input_plan *);
/* outputs.c: wanted outputs, their names, types and places. */
vonk_status vonk_plan_outputs(vonk_predictor *, const vonk_bind_options *,
                              vonk_error *err);
/* outputs.c: dimensions of the tensor's row that are dimensions of the result's, before
 * squeeze; whether squeeze leaves dimension d; and how long it becomes. */
int32_t vonk_plan_result_dims(const output_plan *);
bool vonk_plan_keeps_dim(const vonk_predictor *, const output_plan *, int32_t d);
int64_t vonk_plan_result_dim(const output_plan *, int32_t d, int64_t tensor_dim);
/* outputs.c */
vonk_status vonk_plan_schema(const vonk_predictor *, struct ArrowSchema *out,
                             vonk_error *err);
/* "float32[784]", "int64[rows, free]": a tensor's type as messages say it; shape without
 * the batch. */
void vonk_plan_describe(vonk_dtype dtype, int32_t rank, const int64_t *shape,
                        vonk_text *out);

/* --- one call --- */

enum { ROW_GOOD = 0, ROW_NULL = 1, ROW_BAD = 2 };

/* A source's column in this batch. */
typedef struct source_view {
  const source *source;
  vonk_column column;                 /* of the top-level column; owned */
  const vonk_column *values;          /* the column that path leads to */
  const vonk_column *above[MAX_PATH]; /* structs on the way that hold NULLs */
  size_t n_above;
  const vonk_column
      *leaf; /* its elements; for a dictionary the dictionary column itself */
} source_view;

typedef struct input_view {
  const input_plan *plan;
  source_view *sources;
} input_view;

/* Results of one micro-batch whose rows have no place beforehand: lists of free length,
 * and text. */
typedef struct piece {
  struct piece *next;
  int64_t first, n;
  int64_t *rows; /* NULL: first, first + 1, ... */
  int64_t shape[VONK_MAX_RANK];
  int64_t row_elements;
  uint8_t *values;  /* result_type elements, or the bytes of text */
  int32_t *offsets; /* text: n * row_elements + 1 */
} piece;

typedef struct output_result {
  uint8_t *values; /* dense: rows * row_elements, bools as bytes */
  piece *pieces;
} output_result;

typedef struct row_message {
  int64_t row;
  size_t start, size; /* in the text buffer */
} row_message;

/* A run of rows in the order they are cut: places [begin, end). */
typedef struct cut {
  int64_t begin, end;
} cut;

typedef struct call {
  const vonk_predictor *predictor;
  int64_t n_rows;
  const uint8_t *root_validity; /* of the struct array itself; NULL = no NULL */
  int64_t root_offset;
  input_view *inputs; /* of the workspace, as is outputs */
  uint8_t *state;     /* per row ROW_...; NULL = all are good so far. There from the
                         start unless a bad row fails the call */
  int64_t *order;     /* rows sorted by shape; NULL = as they come */
  int64_t n_order;    /* places in the order (bad rows have none if there is an order) */
  int64_t *free_dims; /* per row: the free dimensions of all inputs, in order; NULL if
                         there are none */
  size_t n_free_dims;
  cut *cuts;
  cut only_cut; /* what cuts points to if there is one */
  int64_t n_cuts;
  output_result *outputs;

  pthread_mutex_t mutex; /* what follows, and pieces */
  vonk_buffer messages;  /* row_message each */
  vonk_buffer message_text;
  vonk_status failed;
  int64_t failed_cut;
  vonk_error *error; /* the caller's; may be NULL */

  _Atomic int64_t next_cut;
  _Atomic int64_t stop_at; /* cuts from here on need not run */
} call;

/* One run of the model: n places, filled up to n_run by repeating the last. */
typedef struct micro_batch {
  int64_t n, n_run;
  int64_t first; /* where rows_in or rows_out is NULL: rows first, first + 1, ... */
  const int64_t *rows_in;  /* the row whose values a place gets */
  const int64_t *rows_out; /* the row whose result a place gives */
} micro_batch;

/* rows.c: opens the workspace's views on the batch's columns, finds NULL and bad rows,
 * shapes. */
vonk_status vonk_rows_open(call *, workspace *, const struct ArrowArray *rows,
                           vonk_error *err);
void vonk_rows_close(call *);
/* rows.c: cuts the rows into micro-batches. */
vonk_status vonk_rows_cut(call *, vonk_error *err);
/* How many rows of one shape may run together from this place of the order on. */
int64_t vonk_rows_most(const call *, int64_t place);
/* rows.c: where row i's elements start in the leaf (its offset not yet added). The row
 * must be good. */
int64_t vonk_rows_start(const source_view *, int64_t i);
/* rows.c: fits n_elements, or lists of dims, to the input's row shape; the free dimensions
 * go to free_dims. */
bool vonk_rows_fit_dims(const input_plan *, const source *, const int64_t *dims,
                        int64_t n_elements, int64_t *free_dims);

/* values.c: the bytes of row i of a FORM_RAW source; not for a NULL row. */
void vonk_values_bytes(const source_view *, int64_t i, const uint8_t **bytes,
                       int64_t *nbytes);
/* values.c: is the row's binary value a row of the input? */
vonk_status vonk_values_check_bytes(call *, const input_view *, int64_t row,
                                    int64_t *free_dims, vonk_error *err);
/* values.c: finds the rows of a FORM_SIGNED source whose integers do not fit. */
vonk_status vonk_values_check_range(call *, const input_view *, size_t index,
                                    size_t first_free_dim, vonk_error *err);
/* values.c: finds the rows of an unsigned output that the signed result cannot hold. */
vonk_status vonk_values_check_output(call *, const micro_batch *, const output_plan *,
                                     const vonk_tensor *, vonk_error *err);
/* errors.c: the row gets no prediction, for this reason. Called by the thread that has
 * the row's cut, or before any runs. With VONK_ROWS_RAISE returns the error; else state
 * must be there. */
vonk_status vonk_call_bad_row(call *, int64_t row, int state, const vonk_error *why,
                              vonk_error *err);

/* tensors.c: points the workspace's input tensors at the micro-batch's rows, borrowing or
 * gathering. */
vonk_status vonk_tensors_fill(const call *, const micro_batch *, workspace *,
                              vonk_error *err);
/* steps.c: preprocesses the input's tensor, which is the workspace's. */
void vonk_steps_apply(const input_plan *, const vonk_tensor *);
/* results.c: says where the framework is to write. */
vonk_status vonk_results_prepare(const call *, const micro_batch *, workspace *,
                                 vonk_error *err);
/* results.c: takes over what it wrote; releases the framework's tensors. */
vonk_status vonk_results_take(call *, const micro_batch *, workspace *, vonk_error *err);
void vonk_results_release(workspace *);
void vonk_piece_release(piece *);

/* run.c: VONK_CANCELLED if somebody asked for it. */
vonk_status vonk_call_check_cancel(const vonk_predictor *, vonk_error *err);
/* run.c: one cut, with isolation of bad rows. */
vonk_status vonk_run_cut(call *, int64_t index, vonk_plugin_session *, workspace *,
                         vonk_error *err);

/* emit.c: the result as an Arrow struct array. */
vonk_status vonk_emit(call *, struct ArrowArray *out, vonk_error *err);
/* emit.c: n elements as an array. Takes over *values and *validity on success. Bools come
 * as bytes. */
vonk_status vonk_emit_values(const vonk_dtype_info *, int64_t n, int64_t null_count,
                             uint8_t **validity, uint8_t **values, struct ArrowArray *out,
                             vonk_error *err);

/* --- classes --- */

/* classes.c: the index of the largest in each of n_groups times `length` elements of the
 * tensor, */
vonk_status vonk_classes_largest(const output_plan *, const uint8_t *values,
                                 int64_t n_groups, int64_t length, int64_t *target,
                                 vonk_error *err);
/* the largest ones, min(top, length) of them, the largest first; */
vonk_status vonk_classes_top(const output_plan *, const uint8_t *values, int64_t n_groups,
                             int64_t length, class_entry *target, vonk_error *err);
/* and whether there is a label for every class of the tensor. */
vonk_status vonk_classes_check(const output_plan *, const vonk_tensor *, vonk_error *err);
/* emit_classes.c: n results as an array: AS_LABEL the texts, AS_TOP the structs. Take over
 * *values (and *validity) on success. */
vonk_status vonk_emit_labels(const output_plan *, int64_t n, int64_t null_count,
                             uint8_t **validity, uint8_t **values, struct ArrowArray *out,
                             vonk_error *err);
vonk_status vonk_emit_entries(const output_plan *, int64_t n, uint8_t **values,
                              struct ArrowArray *out, vonk_error *err);
/* emit_classes.c: the type of AS_TOP's structs. */
vonk_status vonk_classes_schema(const output_plan *, const char *name,
                                struct ArrowSchema *out, vonk_error *err);

/* workspace.c */
vonk_status vonk_workspace_acquire(const vonk_predictor *, workspace **out,
                                   vonk_error *err);
void vonk_workspace_give_back(const vonk_predictor *, workspace *);
void vonk_workspace_release(workspace *);

/* What VONK_ERROR_INIT does, but for the kilobyte of message: these lie in the way of
 * every micro-batch, and writing them costs as much as all else there. */
static inline void clear_error(vonk_error *err) {
  err->struct_size = (uint32_t)sizeof *err;
  err->code = VONK_OK;
  err->native_code = 0;
  err->row = -1;
  err->message[0] = '\0';
}

static inline void count(_Atomic uint64_t *counter, uint64_t n) {
  atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

#endif /* VONK_PREDICT_PLAN_H */
