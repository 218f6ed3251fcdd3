/* Progress on stderr: "123,456 of 600,000 rows, 240,000 rows/s, 2.0 s left", rewritten in
 * place four times a second. */
#include "cli/progress.h"

#include "cli/cli.h"

static const uint64_t INTERVAL_NS = 250000000;

void vonk_cli_progress_start(vonk_cli_progress *p, bool is_on, int64_t total) {
  uint64_t now = vonk_clock_ns();
  *p = (vonk_cli_progress){
      .is_on = is_on, .total = total, .start_ns = now, .shown_ns = now};
}

void vonk_cli_progress_show(void *arg, int64_t n_rows) {
  vonk_cli_progress *p = arg;
  uint64_t now = vonk_clock_ns();
  if (!p->is_on || now - p->shown_ns < INTERVAL_NS) {
    return;
  }
  p->shown_ns = now;
  p->is_shown = true;
  double rate = (double)n_rows / ((double)(now - p->start_ns) / 1e9);
  char rows[32], total[32], speed[32], left[32];
  (void)fprintf(stderr, "\r\033[K%s", vonk_cli_count(n_rows, rows));
  if (p->total > 0) {
    (void)fprintf(stderr, " of %s", vonk_cli_count(p->total, total));
  }
  (void)fprintf(stderr, " rows, %s rows/s", vonk_cli_count((int64_t)rate, speed));
  if (p->total > n_rows && rate > 0.0) {
    (void)fprintf(stderr, ", %s left",
                  vonk_cli_duration((double)(p->total - n_rows) / rate, left));
  }
  (void)fflush(stderr);
}

void vonk_cli_progress_end(vonk_cli_progress *p) {
  if (p->is_shown) {
    (void)fprintf(stderr, "\r\033[K");
    (void)fflush(stderr);
    p->is_shown = false;
  }
}
