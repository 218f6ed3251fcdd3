/* The pipeline of `vonk run`.
 *
 * How it works. Batches (chunks of DuckDB, up to 2,048 rows) stand in a ring in the order
 * of the rows. Three kinds of work are done on them: reading the next one (one thread at
 * a time, for a result has one end), predicting a piece of one (any number of threads),
 * and taking the oldest one, when all its pieces are done, to be written (the main
 * thread, which calls vonk_cli_pipeline_next). No thread is idle while there is work of a
 * kind that it may do: the main thread reads ahead as far as the others need and predicts
 * otherwise, the others predict, and read when nothing is left to predict. So two threads
 * share decoding and inference evenly whatever each costs. The batches and bytes in the
 * ring are bounded, so memory does not grow with the input.
 *
 * One mutex guards the ring's state; it is held only to choose work and to note that it
 * is done. A batch that fails keeps its error until its turn to be written comes, so that
 * the first bad row of the input is the one reported, whatever order the threads ran in.
 */
#define _POSIX_C_SOURCE 200809L
#include "cli/pipeline.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

enum { MAX_THREADS = 256, LEAST_RING = 4 };
static const uint64_t RING_BYTES = UINT64_C(128)
                                   << 20; /* at least one batch is always let in */

struct vonk_cli_pipeline {
  const vonk_cli_plan *plan;
  duckdb_result *result;
  const char *source;
  uint32_t n_threads;
  int enough;   /* pieces that keep the other threads busy while one reads */
  int64_t step; /* rows of a micro-batch: pieces are whole numbers of them */

  pthread_mutex_t mutex;
  pthread_cond_t changed;
  vonk_cli_batch *ring;
  size_t capacity;
  uint64_t head, tail; /* numbers of the next batch to write and of the next to read:
                          [head, tail) are in the ring */
  uint64_t predicting; /* number of the oldest batch with a piece that nobody has taken */
  uint64_t ring_bytes;
  int n_waiting;  /* pieces that nobody has taken */
  int64_t n_rows; /* read so far */
  bool is_reading, at_end, is_stopped;
  bool holds_head; /* the head batch is with the caller of next */
  vonk_status read_status;
  vonk_error read_error;
  vonk_cli_pipeline_times times;

  pthread_t threads[MAX_THREADS];
  uint32_t n_started;
};

static vonk_cli_batch *batch_at(vonk_cli_pipeline *p, uint64_t number) {
  return &p->ring[number % p->capacity];
}

/* --- one batch --- */

static void release_rows(struct ArrowArray *rows) {
  for (int64_t i = 0; i < rows->n_children; i++) {
    if (rows->children[i] != NULL && rows->children[i]->release != NULL) {
      rows->children[i]->release(rows->children[i]);
    }
    vonk_delete(rows->children[i]);
  }
  vonk_delete(rows->children);
  rows->release = NULL;
}

static void clear_batch(vonk_cli_batch *b) {
  for (int i = 0; i < b->n_pieces; i++) {
    if (b->results[i].release != NULL) {
      b->results[i].release(&b->results[i]);
    }
  }
  if (b->rows.release != NULL) {
    b->rows.release(&b->rows);
  }
  if (b->chunk != NULL) {
    duckdb_destroy_data_chunk(&b->chunk);
  }
  memset(b, 0, sizeof(*b));
}

static vonk_status view_rows(const vonk_cli_plan *plan, vonk_cli_batch *b,
                             vonk_error *err) {
  static const void *no_validity[1];
  b->rows = (struct ArrowArray){.length = b->n_rows,
                                .n_buffers = 1,
                                .buffers = no_validity,
                                .release = release_rows};
  VONK_TRY(vonk_new(plan->n_fed, sizeof(*b->rows.children), &b->rows.children, err));
  for (size_t i = 0; i < plan->n_fed; i++) {
    size_t place = plan->fed[i];
    VONK_TRY(vonk_new(1, sizeof(struct ArrowArray), &b->rows.children[i], err));
    b->rows.n_children = (int64_t)i + 1;
    VONK_TRY(vonk_duckdb_view(duckdb_data_chunk_get_vector(b->chunk, place),
                              &plan->columns[plan->selected[place]].type, b->n_rows,
                              b->rows.children[i], err));
  }
  return VONK_OK;
}

/* One thread: the whole batch at once. Several: about two pieces for each, of whole
 * micro-batches. */
static void cut_batch(const vonk_cli_pipeline *p, vonk_cli_batch *b) {
  int64_t want = p->n_threads == 1 ? 1 : 2 * (int64_t)p->n_threads;
  want = want > VONK_CLI_MAX_PIECES ? VONK_CLI_MAX_PIECES : want;
  int64_t rows = (b->n_rows + want - 1) / want;
  b->piece_rows = (rows + p->step - 1) / p->step * p->step;
  b->n_pieces = (int)((b->n_rows + b->piece_rows - 1) / b->piece_rows);
}

static vonk_status fill_batch(const vonk_cli_pipeline *p, vonk_cli_batch *b,
                              vonk_error *err) {
  const vonk_cli_plan *plan = p->plan;
  b->n_rows = (int64_t)duckdb_data_chunk_get_size(b->chunk);
  cut_batch(p, b);
  for (size_t i = 0; i < plan->n_selected; i++) {
    b->nbytes +=
        vonk_duckdb_vector_bytes(duckdb_data_chunk_get_vector(b->chunk, i),
                                 &plan->columns[plan->selected[i]].type, b->n_rows);
  }
  return view_rows(plan, b, err);
}

/* --- reading --- */

/* The next chunk with rows into *b; *b->chunk is NULL at the end. Without the mutex. */
static vonk_status fetch(vonk_cli_pipeline *p, vonk_cli_batch *b, vonk_error *err) {
  do {
    if (b->chunk != NULL) {
      duckdb_destroy_data_chunk(&b->chunk);
    }
    b->chunk = duckdb_fetch_chunk(*p->result);
  } while (b->chunk != NULL && duckdb_data_chunk_get_size(b->chunk) == 0);
  if (b->chunk != NULL) {
    return fill_batch(p, b, err);
  }
  const char *message = duckdb_result_error(p->result);
  if (message == NULL || message[0] == '\0') {
    return VONK_OK;
  }
  return vonk_cli_duckdb_fail(err, vonk_cli_duckdb_code(message), p->source, message);
}

/* Called with the mutex held; gives it up while it reads. */
static void read_batch(vonk_cli_pipeline *p) {
  p->is_reading = true;
  pthread_mutex_unlock(&p->mutex);
  uint64_t start = vonk_clock_ns();
  vonk_cli_batch batch = {.n_rows = 0};
  vonk_error error = VONK_ERROR_INIT;
  vonk_status status = fetch(p, &batch, &error);
  uint64_t spent = vonk_clock_ns() - start;
  pthread_mutex_lock(&p->mutex);
  p->is_reading = false;
  p->times.read_ns += spent;
  if (status != VONK_OK || batch.chunk == NULL) {
    clear_batch(&batch);
    p->at_end = true;
    p->read_status = status;
    p->read_error = error;
  } else {
    batch.first_row = p->n_rows;
    p->n_rows += batch.n_rows;
    p->ring_bytes += batch.nbytes;
    p->n_waiting += batch.n_pieces;
    *batch_at(p, p->tail++) = batch;
  }
  pthread_cond_broadcast(&p->changed);
}

/* --- predicting --- */

static void release_nothing(struct ArrowArray *array) { array->release = NULL; }

/* Rows [first, first + n) of the batch, borrowed. */
static vonk_status predict_piece(const vonk_cli_pipeline *p, const vonk_cli_batch *b,
                                 int piece, struct ArrowArray *out, vonk_error *err) {
  struct ArrowArray rows = b->rows;
  rows.offset = piece * b->piece_rows;
  rows.length =
      rows.offset + b->piece_rows > b->n_rows ? b->n_rows - rows.offset : b->piece_rows;
  rows.release = release_nothing;
  vonk_status status = vonk_predict(p->plan->predictor, &rows, out, err);
  int64_t row = vonk_error_row(err);
  if (status != VONK_OK && row >= 0) {
    row += b->first_row + piece * b->piece_rows;
    vonk_error_set_row(err, row);
  }
  return status;
}

/* Called with the mutex held; gives it up while it predicts. */
static void predict_next(vonk_cli_pipeline *p) {
  vonk_cli_batch *b = batch_at(p, p->predicting);
  int piece = b->next_piece++;
  p->n_waiting--;
  p->predicting += b->next_piece == b->n_pieces;
  pthread_mutex_unlock(&p->mutex);
  uint64_t start = vonk_clock_ns();
  vonk_error error = VONK_ERROR_INIT;
  vonk_status status = predict_piece(p, b, piece, &b->results[piece], &error);
  uint64_t spent = vonk_clock_ns() - start;
  pthread_mutex_lock(&p->mutex);
  p->times.predict_ns += spent;
  b->n_done++;
  if (status != VONK_OK) {
    if (b->status == VONK_OK || piece < b->failed_piece) {
      b->status = status;
      b->failed_piece = piece;
      b->error = error;
    }
    p->at_end = true; /* nothing behind a failed row is needed */
  }
  if (b->n_done == b->n_pieces || status != VONK_OK) {
    pthread_cond_broadcast(&p->changed);
  }
}

/* --- choosing work --- */

static bool may_read(const vonk_cli_pipeline *p) {
  if (p->is_reading || p->at_end || p->is_stopped || p->tail - p->head >= p->capacity) {
    return false;
  }
  return p->tail == p->head || p->ring_bytes < RING_BYTES;
}

/* Does one thing, if there is one to do. With the mutex held, given up meanwhile. Reading
 * is the main thread's, so that the memory of chunks is allocated and freed by one thread
 * and stays warm, unless that is busy writing while there is nothing else to do. It reads
 * on until the others have enough: about two batches each. Alone, it predicts a batch at
 * once, while it is in the cache. */
static bool work_once(vonk_cli_pipeline *p, bool is_main) {
  bool has_piece = p->n_waiting > 0;
  if (may_read(p) && (!has_piece || (is_main && p->n_waiting < p->enough))) {
    read_batch(p);
    return true;
  }
  if (has_piece && !p->is_stopped) {
    predict_next(p);
    return true;
  }
  return false;
}

static void wait_for_change(vonk_cli_pipeline *p) {
  uint64_t start = vonk_clock_ns();
  pthread_cond_wait(&p->changed, &p->mutex);
  p->times.wait_ns += vonk_clock_ns() - start;
}

static bool is_drained(const vonk_cli_pipeline *p) {
  return p->is_stopped || (p->at_end && !p->is_reading && p->predicting == p->tail);
}

static void *run_worker(void *arg) {
  vonk_cli_pipeline *p = arg;
  pthread_mutex_lock(&p->mutex);
  while (!is_drained(p)) {
    if (!work_once(p, false)) {
      wait_for_change(p);
    }
  }
  pthread_mutex_unlock(&p->mutex);
  return NULL;
}

/* --- the interface --- */

vonk_status vonk_cli_pipeline_create(const vonk_cli_plan *plan, duckdb_result *result,
                                     const char *source, uint32_t n_threads,
                                     vonk_cli_pipeline **out, vonk_error *err) {
  vonk_cli_pipeline *p;
  VONK_TRY(vonk_new(1, sizeof(*p), &p, err));
  p->plan = plan;
  p->result = result;
  p->source = source;
  p->n_threads = n_threads > MAX_THREADS ? MAX_THREADS : n_threads;
  p->step = vonk_predictor_batch_rows(plan->predictor);
  p->step = p->step < 1 ? 1 : p->step;
  p->enough = (int)(4 * p->n_threads * (p->n_threads - 1));
  p->capacity = 2 * p->n_threads + LEAST_RING;
  vonk_status status = vonk_new(p->capacity, sizeof(*p->ring), &p->ring, err);
  if (status != VONK_OK) {
    vonk_delete(p);
    return status;
  }
  pthread_mutex_init(&p->mutex, NULL);
  pthread_cond_init(&p->changed, NULL);
  *out = p;
  return VONK_OK;
}

/* A full first chunk is hardly ever all, and the others need not wait for the second. */
static bool first_is_full(const vonk_cli_pipeline *p) {
  return p->tail > 0 && p->ring[0].n_rows == (int64_t)duckdb_vector_size();
}

vonk_status vonk_cli_pipeline_prime(vonk_cli_pipeline *p, double *row_bytes, bool *is_all,
                                    vonk_error *err) {
  pthread_mutex_lock(&p->mutex);
  while (may_read(p) && p->tail < 2 && !first_is_full(p)) {
    read_batch(p);
  }
  *row_bytes = 0.0;
  *is_all = p->tail <= 1 && !first_is_full(p);
  if (p->tail > 0) {
    const vonk_cli_batch *b = &p->ring[0];
    uint64_t nbytes = 0;
    for (size_t i = 0; i < p->plan->n_kept; i++) {
      nbytes += vonk_duckdb_vector_bytes(duckdb_data_chunk_get_vector(b->chunk, i),
                                         &p->plan->columns[p->plan->selected[i]].type,
                                         b->n_rows);
    }
    *row_bytes = (double)nbytes / (double)b->n_rows;
  }
  vonk_status status = p->tail == 0 ? p->read_status : VONK_OK;
  vonk_error_copy(err, status == VONK_OK ? NULL : &p->read_error);
  pthread_mutex_unlock(&p->mutex);
  return status;
}

vonk_status vonk_cli_pipeline_start(vonk_cli_pipeline *p, vonk_error *err) {
  while (p->n_started + 1 < p->n_threads) {
    int error = pthread_create(&p->threads[p->n_started], NULL, run_worker, p);
    if (error != 0) {
      return vonk_fail(err, VONK_NOMEM,
                       "thread %" PRIu32 ": cannot be made: %s: try fewer --threads",
                       p->n_started + 2, strerror(error));
    }
    p->n_started++;
  }
  return VONK_OK;
}

/* The batch that the caller had is done with. */
static void drop_head(vonk_cli_pipeline *p) {
  if (!p->holds_head) {
    return;
  }
  vonk_cli_batch *b = batch_at(p, p->head);
  p->ring_bytes -= b->nbytes;
  clear_batch(b);
  p->head++;
  p->holds_head = false;
  pthread_cond_broadcast(&p->changed);
}

static bool is_finished(const vonk_cli_batch *b) { return b->n_done == b->n_pieces; }

static vonk_status take_head(vonk_cli_pipeline *p, vonk_cli_batch **out,
                             vonk_error *err) {
  vonk_cli_batch *b = batch_at(p, p->head);
  if (b->status != VONK_OK) {
    vonk_error_copy(err, &b->error);
    return b->status;
  }
  p->holds_head = true;
  *out = b;
  return VONK_OK;
}

vonk_status vonk_cli_pipeline_next(vonk_cli_pipeline *p, vonk_cli_batch **out,
                                   vonk_error *err) {
  vonk_status status = VONK_OK;
  pthread_mutex_lock(&p->mutex);
  drop_head(p);
  for (;;) {
    if (p->is_stopped) {
      status = vonk_fail(err, VONK_CANCELLED, "interrupted");
      break;
    }
    if (p->head < p->tail && is_finished(batch_at(p, p->head))) {
      status = take_head(p, out, err);
      break;
    }
    if (p->head == p->tail && p->at_end && !p->is_reading) {
      *out = NULL;
      status = p->read_status;
      vonk_error_copy(err, status == VONK_OK ? NULL : &p->read_error);
      break;
    }
    if (!work_once(p, true)) {
      wait_for_change(p);
    }
  }
  pthread_mutex_unlock(&p->mutex);
  return status;
}

void vonk_cli_pipeline_stop(vonk_cli_pipeline *p) {
  pthread_mutex_lock(&p->mutex);
  p->is_stopped = true;
  pthread_cond_broadcast(&p->changed);
  pthread_mutex_unlock(&p->mutex);
}

vonk_cli_pipeline_times vonk_cli_pipeline_timing(vonk_cli_pipeline *p) {
  pthread_mutex_lock(&p->mutex);
  vonk_cli_pipeline_times times = p->times;
  pthread_mutex_unlock(&p->mutex);
  return times;
}

void vonk_cli_pipeline_release(vonk_cli_pipeline *p) {
  if (p == NULL) {
    return;
  }
  vonk_cli_pipeline_stop(p);
  for (uint32_t i = 0; i < p->n_started; i++) {
    pthread_join(p->threads[i], NULL);
  }
  for (uint64_t i = p->head; i < p->tail; i++) {
    clear_batch(batch_at(p, i));
  }
  pthread_mutex_destroy(&p->mutex);
  pthread_cond_destroy(&p->changed);
  vonk_delete(p->ring);
  vonk_delete(p);
}
