/* The bare framework loop: what the fastest program around the framework would do, with
 * tensors that are ready.
 *
 * How it works: the rows are cut into micro-batches by an atomic counter; each thread
 * runs them on the model's session, reading slices of the prepared tensors in place and
 * writing to one buffer of its own, again and again. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "arrow/arrow.h"
#include "cli/bench.h"
#include "model/model.h"

enum { MAX_IO = 64, MAX_THREADS = 256 };

typedef struct bare {
  vonk_model *model;
  const vonk_cli_bench_rows *rows;
  int64_t batch_rows;
  atomic_int_fast64_t next;
  pthread_mutex_t mutex;
  vonk_status status; /* under the mutex */
  vonk_error error;
} bare;

/* What one thread runs with. */
typedef struct lane {
  vonk_tensor inputs[MAX_IO], outputs[MAX_IO];
  const vonk_tensor *input_list[MAX_IO];
  vonk_tensor *output_list[MAX_IO];
  int64_t input_shapes[MAX_IO][VONK_MAX_RANK], output_shapes[MAX_IO][VONK_MAX_RANK];
  uint8_t *buffers[MAX_IO]; /* of outputs whose size is known */
  int64_t output_elements[MAX_IO];
} lane;

static void set_inputs(const bare *b, int64_t first, int64_t n, lane *l) {
  for (size_t i = 0; i < b->rows->n_inputs; i++) {
    const vonk_cli_bench_input *in = &b->rows->inputs[i];
    memcpy(l->input_shapes[i], in->shape, sizeof(in->shape));
    l->input_shapes[i][0] = n;
    l->inputs[i] = (vonk_tensor){.struct_size = (uint32_t)sizeof(vonk_tensor),
                                 .flags = VONK_READONLY,
                                 .dtype = in->io->dtype,
                                 .rank = in->io->rank,
                                 .shape = l->input_shapes[i],
                                 .data = in->values + (size_t)first * in->row_bytes,
                                 .nbytes = (uint64_t)n * in->row_bytes,
                                 .device = {.kind = VONK_DEVICE_CPU}};
    l->input_list[i] = &l->inputs[i];
  }
}

static void set_outputs(const vonk_model_summary *s, int64_t n, lane *l) {
  for (uint32_t i = 0; i < s->n_outputs; i++) {
    l->outputs[i] = (vonk_tensor){.struct_size = (uint32_t)sizeof(vonk_tensor)};
    l->output_list[i] = &l->outputs[i];
    if (l->buffers[i] != NULL) {
      l->output_shapes[i][0] = n;
      l->outputs[i].dtype = s->outputs[i]->dtype;
      l->outputs[i].rank = s->outputs[i]->rank;
      l->outputs[i].shape = l->output_shapes[i];
      l->outputs[i].data = l->buffers[i];
      l->outputs[i].nbytes = (uint64_t)(n * l->output_elements[i]) *
                             vonk_dtype_find(s->outputs[i]->dtype)->size;
      l->outputs[i].device.kind = VONK_DEVICE_CPU;
    }
  }
}

/* Places for the outputs whose shape the model tells. */
static vonk_status make_places(const vonk_model_summary *s, int64_t batch_rows, lane *l,
                               vonk_error *err) {
  for (uint32_t i = 0; i < s->n_outputs; i++) {
    const vonk_io *io = s->outputs[i];
    int64_t elements = io->rank >= 1 ? 1 : -1;
    for (int32_t d = 1; d < io->rank && elements >= 0; d++) {
      l->output_shapes[i][d] = io->shape[d];
      elements = io->shape[d] < 0 ? -1 : elements * io->shape[d];
    }
    size_t size = vonk_dtype_find(io->dtype)->size;
    if (elements > 0 && size > 0) {
      l->output_elements[i] = elements;
      VONK_TRY(vonk_new((size_t)(elements * batch_rows), size, &l->buffers[i], err));
    }
  }
  return VONK_OK;
}

static vonk_status run_batch(const bare *b, vonk_plugin_session *session, int64_t first,
                             lane *l, vonk_error *err) {
  const vonk_model_summary *s = vonk_model_summarize(b->model);
  int64_t n =
      b->rows->n_rows - first < b->batch_rows ? b->rows->n_rows - first : b->batch_rows;
  set_inputs(b, first, n, l);
  set_outputs(s, n, l);
  vonk_run run = {.struct_size = (uint32_t)sizeof(run),
                  .n_inputs = s->n_inputs,
                  .n_outputs = s->n_outputs,
                  .threads = 1,
                  .inputs = l->input_list,
                  .outputs = l->output_list,
                  .host = vonk_host_get()};
  vonk_status status = vonk_session_run(b->model, session, &run, err);
  for (uint32_t i = 0; i < s->n_outputs; i++) {
    if (l->outputs[i].release != NULL) {
      l->outputs[i].release(&l->outputs[i]);
    }
  }
  return status;
}

static vonk_status run_lane(bare *b, lane *l, vonk_error *err) {
  const vonk_plugin *plugin = vonk_model_plugin(b->model);
  vonk_plugin_session *session;
  if ((plugin->api.caps & VONK_CAP_PREALLOCATED_OUT) != 0) {
    VONK_TRY(make_places(vonk_model_summarize(b->model), b->batch_rows, l, err));
  }
  VONK_TRY(vonk_session_acquire(b->model, &session, err));
  vonk_status status = VONK_OK;
  while (status == VONK_OK) {
    int64_t first = atomic_fetch_add(&b->next, b->batch_rows);
    if (first >= b->rows->n_rows) {
      break;
    }
    status = run_batch(b, session, first, l, err);
  }
  vonk_session_give_back(b->model, session);
  return status;
}

static void *run_thread(void *arg) {
  bare *b = arg;
  vonk_error error = VONK_ERROR_INIT;
  lane *l;
  vonk_status status = vonk_new(1, sizeof(*l), &l, &error);
  if (status == VONK_OK) {
    status = run_lane(b, l, &error);
    for (size_t i = 0; i < MAX_IO; i++) {
      vonk_delete(l->buffers[i]);
    }
    vonk_delete(l);
  }
  if (status != VONK_OK) {
    pthread_mutex_lock(&b->mutex);
    b->status = status;
    b->error = error;
    pthread_mutex_unlock(&b->mutex);
  }
  return NULL;
}

vonk_status vonk_cli_bare_pass(vonk_model *model, const vonk_cli_bench_rows *rows,
                               int64_t batch_rows, uint32_t n_threads, vonk_error *err) {
  bare b = {.model = model,
            .rows = rows,
            .batch_rows = batch_rows,
            .mutex = PTHREAD_MUTEX_INITIALIZER};
  if (rows->n_inputs > MAX_IO || vonk_model_summarize(model)->n_outputs > MAX_IO) {
    return vonk_fail(err, VONK_UNSUPPORTED,
                     "a model with more than %d inputs or outputs: cannot be measured",
                     MAX_IO);
  }
  pthread_t threads[MAX_THREADS];
  uint32_t n = 0;
  while (n + 1 < n_threads && n < MAX_THREADS &&
         pthread_create(&threads[n], NULL, run_thread, &b) == 0) {
    n++;
  }
  run_thread(&b);
  for (uint32_t i = 0; i < n; i++) {
    pthread_join(threads[i], NULL);
  }
  pthread_mutex_destroy(&b.mutex);
  vonk_error_copy(err, b.status == VONK_OK ? NULL : &b.error);
  return b.status;
}
