/* `vonk run`, cut into what was asked for (settings.c), doing it (run.c) and saying how
 * it went (report.c). */
#ifndef VONK_CLI_RUN_H
#define VONK_CLI_RUN_H

#include "cli/progress.h"
#include "cli/writer.h"

/* The command line, checked as far as that goes without opening anything. */
typedef struct vonk_cli_settings {
  const char *model_path, *output, *select;
  const char *const *inputs;
  size_t n_inputs;
  vonk_cli_model_options model_options;
  vonk_bind_options bind;     /* without inputs */
  vonk_kv *outputs;           /* of bind; keys are new strings */
  vonk_cli_mapping *mappings; /* --input */
  size_t n_mappings;
  vonk_cli_format format, output_format;
  uint32_t n_threads;
  bool wants_stats, wants_progress, is_quiet;
} vonk_cli_settings;
vonk_status vonk_cli_settings_read(const vonk_cli_args *, vonk_cli_settings *out,
                                   vonk_error *err);
void vonk_cli_settings_clear(vonk_cli_settings *);

typedef struct vonk_cli_report {
  const vonk_cli_settings *settings;
  const vonk_cli_plan *plan;
  const vonk_cli_writer *writer;
  vonk_cli_pipeline_times times;
  double seconds, cpu_seconds; /* of the whole run */
} vonk_cli_report;
/* On stderr: rows, time, what went wrong with rows, and with --stats where the time went.
 */
void vonk_cli_report_print(const vonk_cli_report *);

#endif /* VONK_CLI_RUN_H */
