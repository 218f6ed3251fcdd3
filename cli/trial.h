/* What the conformance suite's files share: a trial is one check of a plug-in in a child
 * process. */
#ifndef VONK_CLI_TRIAL_H
#define VONK_CLI_TRIAL_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdnoreturn.h>

#include "cli/conformance.h"
#include "plugin/plugin.h"

enum { TRIAL_MAX_IO = 64, TRIAL_ROWS = 7 };

/* In the child. What a check allocates is freed by the child's end. */
typedef struct trial {
  const char *path;       /* of the plug-in */
  const char *model;      /* NULL: none was given */
  const vonk_kv *options; /* that open_model is given with the model */
  size_t n_options;
  const char *folder; /* an empty temporary folder, for files that the check makes */
  int report;         /* where the verdict goes */
  vonk_plugin_v1 api; /* after trial_load */
  vonk_host host;     /* what the plug-in was given: ours, counting */
  _Atomic int64_t live_blocks; /* of the host's memory */
  _Atomic int64_t forks;

  /* After trial_open. */
  vonk_plugin_model *opened;
  vonk_model_info info;
  vonk_io inputs[TRIAL_MAX_IO], outputs[TRIAL_MAX_IO];
} trial;

/* The verdict; they end the child. A check that returns is passed. */
noreturn void trial_fail(trial *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
noreturn void trial_skip(trial *, const char *reason);

#define EXPECT(t, condition, ...)   \
  do {                              \
    if (!(condition)) {             \
      trial_fail((t), __VA_ARGS__); \
    }                               \
  } while (0)

typedef enum trial_verdict {
  TRIAL_PASSED,
  TRIAL_FAILED,
  TRIAL_SKIPPED,
  TRIAL_HUNG
} trial_verdict;

/* Runs check in a child; reason is why it did not pass. */
trial_verdict trial_start(const trial_subject *, void (*check)(trial *),
                          vonk_text *reason);
/* How long a check may take; a test of the suite shortens it. */
extern unsigned trial_seconds;

/* Steps that many checks begin with; each ends the child with a verdict if it fails. */
void trial_load(trial *);
void trial_open(trial *);     /* trial_load, the framework, the model and its description;
                                 skips without a model */
void trial_describe(trial *); /* asks t->opened for info, inputs and outputs */
vonk_plugin_session *trial_session(trial *);
vonk_status trial_open_path(trial *, const char *path, const vonk_kv *options, size_t n,
                            vonk_plugin_model **out, vonk_error *err);
/* The model, with its options; fails if it cannot be opened. */
vonk_plugin_model *trial_open_again(trial *);

/* Checks, by file. conformance_load.c: */
void check_load(trial *);
void check_table(trial *);
void check_load_threads(trial *);
void check_recognise(trial *);
void check_errors(trial *);
void check_runtime(trial *);
/* conformance_state.c: what a plug-in must leave as it is. */
void check_float_mode(trial *);
void check_signals(trial *);
void check_locale(trial *);
void check_quiet(trial *);
void check_processes(trial *);
void check_folder(trial *);
void check_memory(trial *);
/* conformance_run.c */
void check_model(trial *);
void check_run(trial *);
void check_determinism(trial *);
void check_threads(trial *);
void check_preallocated(trial *);
void check_wrong_place(trial *);
void check_unwanted(trial *);
void check_unaligned(trial *);
void check_read_only(trial *);
void check_lifetimes(trial *);
void check_cancel(trial *);

/* conformance_models.c */
void check_two_models(trial *);
void check_opening_threads(trial *);
void check_option_values(trial *);
void check_cut_models(trial *);
void check_outputs_are_own(trial *);

/* conformance_files.c */
void check_files(trial *);
void check_files_read_only(trial *);
void check_file_errors(trial *);
void check_cut_files(trial *);
void check_files_memory(trial *);
void check_files_threads(trial *);

/* conformance_data.c: rows for a model, and what came out. */
typedef enum trial_memory { TRIAL_ALIGNED, TRIAL_ODD, TRIAL_READ_ONLY } trial_memory;
typedef struct trial_batch {
  vonk_tensor input[TRIAL_MAX_IO], output[TRIAL_MAX_IO];
  int64_t shape[TRIAL_MAX_IO][VONK_MAX_RANK];
  const vonk_tensor *inputs[TRIAL_MAX_IO];
  vonk_tensor *outputs[TRIAL_MAX_IO]; /* all wanted, no place given */
  int64_t rows;
} trial_batch;
/* nbytes bytes: at a multiple of 64; or at one of size only; or at the end of a page,
 * with a page that cannot be touched behind it. */
uint8_t *trial_allocate(trial *, size_t nbytes, size_t size, trial_memory memory);
/* From now on TRIAL_READ_ONLY bytes cannot be written. */
void trial_protect(trial *, uint8_t *data, size_t nbytes, trial_memory memory);
/* As many rows as the model allows when `rows` are wanted: a fixed first dim decides. */
int64_t trial_rows(const trial *, int64_t rows);
/* Fills batch with rows of made-up data, row i of which is always the same. Skips models
 * that cannot be fed this way. */
void trial_make_batch(trial *, int64_t rows, trial_memory memory, trial_batch *batch);
vonk_status trial_run(trial *, vonk_plugin_session *, trial_batch *, vonk_cancel *,
                      vonk_error *err);
/* trial_run that must succeed and give what describe promised. */
void trial_run_well(trial *, vonk_plugin_session *, trial_batch *);
/* Fails if output i of a and b is not the same, byte by byte. */
void trial_compare(trial *, const trial_batch *a, const trial_batch *b, uint32_t i,
                   const char *what);
void trial_compare_all(trial *, const trial_batch *a, const trial_batch *b,
                       const char *what);
void trial_release_outputs(trial *, trial_batch *);
/* A run of TRIAL_ROWS rows that must go well, to compare with. */
trial_batch *trial_reference(trial *, vonk_plugin_session *);
/* The outputs of batch in memory of our own. */
trial_batch *trial_copy_outputs(trial *, const trial_batch *);
size_t trial_dtype_size(vonk_dtype dtype);
size_t trial_elements(int32_t rank, const int64_t *shape);

/* Of the process; 0 where that says nothing. */
int64_t trial_resident_bytes(void);

/* trial_files.c: the model's files in memory, said to lie where nothing is. */
typedef struct trial_files {
  vonk_file *rows; /* by name */
  size_t n;
  char path[4096], main[256]; /* main: empty if the model is a folder */
} trial_files;
void trial_read_files(trial *, trial_memory memory, trial_files *out);
/* Calls open_files with a table that is gone afterwards. */
vonk_status trial_open_files(trial *, const trial_files *, const vonk_kv *options,
                             size_t n, vonk_plugin_model **out, vonk_error *err);
/* trial_load; skips without a model, or where the plug-in takes no files. */
void trial_need_files(trial *);

#endif /* VONK_CLI_TRIAL_H */
