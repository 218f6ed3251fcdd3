/* Conformance: rows for a model whose meaning nobody knows, and what came out.
 *
 * How it works: a made-up value depends on the input and on the element's place in its
 * row and on the row, but not on how many rows there are. Integers are 0 or 1, which are
 * in range where they stand for a class or a token. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/trial.h"

enum { FREE_DIM = 4 }; /* for free dims other than the rows */

size_t trial_dtype_size(vonk_dtype dtype) {
  static const size_t sizes[] = {0, 2, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1, 0};
  return dtype > 0 && dtype <= VONK_BYTES ? sizes[dtype] : 0;
}

size_t trial_elements(int32_t rank, const int64_t *shape) {
  size_t n = 1;
  for (int32_t i = 0; i < rank; i++) {
    n *= (size_t)shape[i];
  }
  return n;
}

int64_t trial_rows(const trial *t, int64_t rows) {
  for (uint32_t i = 0; i < t->info.n_inputs; i++) {
    if (t->inputs[i].rank > 0 && t->inputs[i].shape[0] >= 0) {
      return t->inputs[i].shape[0];
    }
  }
  return rows;
}

/* --- memory that shows mistakes --- */

uint8_t *trial_allocate(trial *t, size_t nbytes, size_t size, trial_memory memory) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  if (memory == TRIAL_READ_ONLY) {
    size_t used = (nbytes + page - 1) / page * page;
    uint8_t *start = mmap(NULL, used + page, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(t, start != MAP_FAILED, "mmap failed");
    EXPECT(t, mprotect(start + used, page, PROT_NONE) == 0, "mprotect failed");
    return start + used - nbytes;
  }
  uint8_t *start = aligned_alloc(64, (nbytes + size + 127) / 64 * 64);
  EXPECT(t, start != NULL, "no memory");
  return memory == TRIAL_ODD ? start + size : start;
}

void trial_protect(trial *t, uint8_t *data, size_t nbytes, trial_memory memory) {
  if (memory != TRIAL_READ_ONLY || nbytes == 0) {
    return;
  }
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  uint8_t *start = data - (uintptr_t)data % page;
  size_t used = (size_t)(data + nbytes - start);
  EXPECT(t, mprotect(start, used, PROT_READ) == 0, "mprotect failed");
}

/* --- made-up values --- */

static uint32_t mix(size_t input, size_t element) {
  uint64_t x =
      (uint64_t)element * 0x9E3779B97F4A7C15U + (input + 1) * 0xD1B54A32D192ED03U;
  x ^= x >> 29;
  x *= 0xBF58476D1CE4E5B9U;
  return (uint32_t)(x >> 33);
}

static void put(uint8_t *place, vonk_dtype dtype, uint32_t random) {
  static const uint16_t halves[] = {0x0000, 0x3800, 0x3C00};  /* 0, 0.5, 1 */
  static const uint16_t bfloats[] = {0x0000, 0x3F00, 0x3F80}; /* the same */
  float single = (float)(random % 1000) / 1000.0F;
  double number = (double)(random % 1000) / 1000.0;
  switch (dtype) {
    case VONK_F16:
      memcpy(place, &halves[random % 3], 2);
      return;
    case VONK_BF16:
      memcpy(place, &bfloats[random % 3], 2);
      return;
    case VONK_F32:
      memcpy(place, &single, sizeof(single));
      return;
    case VONK_F64:
      memcpy(place, &number, sizeof(number));
      return;
    default: { /* little- or big-endian, one byte of a zeroed integer is the lowest */
      uint64_t wide = random & 1;
      size_t size = trial_dtype_size(dtype);
      const uint16_t order = 1;
      bool little = *(const uint8_t *)&order == 1;
      memcpy(place, (const uint8_t *)&wide + (little ? 0 : sizeof(wide) - size), size);
    }
  }
}

static void fill_strings(trial *t, vonk_tensor *tensor, size_t input, size_t n,
                         trial_memory memory) {
  static const char *const words[] = {"a", "", "bcd"};
  size_t nbytes = 0;
  for (size_t i = 0; i < n; i++) {
    nbytes += strlen(words[mix(input, i) % 3]);
  }
  uint8_t *data = trial_allocate(t, nbytes, 1, memory);
  uint8_t *offset_bytes =
      trial_allocate(t, (n + 1) * sizeof(int32_t), sizeof(int32_t), memory);
  int32_t offset = 0;
  for (size_t i = 0; i < n; i++) {
    const char *word = words[mix(input, i) % 3];
    memcpy(offset_bytes + i * sizeof(offset), &offset, sizeof(offset));
    memcpy(data + offset, word, strlen(word));
    offset += (int32_t)strlen(word);
  }
  memcpy(offset_bytes + n * sizeof(offset), &offset, sizeof(offset));
  trial_protect(t, data, nbytes, memory);
  trial_protect(t, offset_bytes, (n + 1) * sizeof(offset), memory);
  tensor->offsets = (const int32_t *)(void *)offset_bytes;
  tensor->data = data;
  tensor->nbytes = nbytes;
}

static void fill_numbers(trial *t, vonk_tensor *tensor, size_t input, size_t n,
                         trial_memory memory) {
  size_t size = trial_dtype_size(tensor->dtype);
  uint8_t *data = trial_allocate(t, n * size, size, memory);
  for (size_t i = 0; i < n; i++) {
    put(data + i * size, tensor->dtype, mix(input, i));
  }
  trial_protect(t, data, n * size, memory);
  tensor->data = n == 0 ? NULL : data;
  tensor->nbytes = n * size;
}

void trial_make_batch(trial *t, int64_t rows, trial_memory memory, trial_batch *batch) {
  *batch = (trial_batch){.rows = rows};
  for (uint32_t i = 0; i < t->info.n_inputs; i++) {
    const vonk_io *io = &t->inputs[i];
    vonk_tensor *tensor = &batch->input[i];
    if (io->rank < 0) {
      trial_skip(t, "the model does not say its inputs' rank");
    }
    for (int32_t d = 0; d < io->rank; d++) {
      batch->shape[i][d] = io->shape[d] >= 0 ? io->shape[d] : d == 0 ? rows : FREE_DIM;
    }
    *tensor = (vonk_tensor){.struct_size = (uint32_t)sizeof(*tensor),
                            .flags = VONK_READONLY,
                            .dtype = io->dtype,
                            .rank = io->rank,
                            .shape = batch->shape[i],
                            .device = {VONK_DEVICE_CPU, 0}};
    size_t n = trial_elements(io->rank, batch->shape[i]);
    (io->dtype == VONK_BYTES ? fill_strings : fill_numbers)(t, tensor, i, n, memory);
    batch->inputs[i] = tensor;
  }
  for (uint32_t i = 0; i < t->info.n_outputs; i++) {
    batch->output[i] = (vonk_tensor){.struct_size = (uint32_t)sizeof(vonk_tensor)};
    batch->outputs[i] = &batch->output[i];
  }
}

/* --- runs --- */

vonk_status trial_run(trial *t, vonk_plugin_session *session, trial_batch *batch,
                      vonk_cancel *cancel, vonk_error *err) {
  vonk_run run = {.struct_size = (uint32_t)sizeof(run),
                  .n_inputs = t->info.n_inputs,
                  .n_outputs = t->info.n_outputs,
                  .threads = 1,
                  .inputs = batch->inputs,
                  .outputs = batch->outputs,
                  .cancel = cancel,
                  .host = &t->host};
  return t->api.run(session, &run, err);
}

static void expect_shape(trial *t, const vonk_io *io, const vonk_tensor *out,
                         int64_t rows) {
  EXPECT(t,
         out->rank >= 0 && out->rank <= VONK_MAX_RANK &&
             (io->rank < 0 || io->rank == out->rank),
         "output '%s': rank %d, described as %d", io->name, out->rank, io->rank);
  EXPECT(t, out->rank == 0 || out->shape != NULL, "output '%s': has no shape", io->name);
  for (int32_t d = 0; d < out->rank; d++) {
    int64_t described = io->rank < 0 ? -1 : io->shape[d];
    EXPECT(t, out->shape[d] >= 0 && (described < 0 || described == out->shape[d]),
           "output '%s': dim %d is %" PRId64 ", described as %" PRId64, io->name, d,
           out->shape[d], described);
  }
  bool counts_rows = io->rank > 0 && io->shape[0] < 0;
  EXPECT(t, !counts_rows || out->shape[0] == rows,
         "output '%s': %" PRId64 " rows for %" PRId64 " rows of input", io->name,
         counts_rows ? out->shape[0] : 0, rows);
}

static void expect_output(trial *t, uint32_t i, const vonk_tensor *out, int64_t rows) {
  const vonk_io *io = &t->outputs[i];
  EXPECT(t, out->dtype == io->dtype, "output '%s': dtype %d, described as %d", io->name,
         out->dtype, io->dtype);
  expect_shape(t, io, out, rows);
  size_t n = trial_elements(out->rank, out->shape);
  EXPECT(t, n == 0 || out->data != NULL || (out->dtype == VONK_BYTES && out->nbytes == 0),
         "output '%s': %zu elements and no data", io->name, n);
  EXPECT(t, out->device.kind == VONK_DEVICE_CPU, "output '%s': not on the CPU", io->name);
  if (out->dtype != VONK_BYTES) {
    size_t nbytes = n * trial_dtype_size(out->dtype);
    EXPECT(t, out->nbytes == nbytes, "output '%s': nbytes is %" PRIu64 ", expected %zu",
           io->name, out->nbytes, nbytes);
    return;
  }
  EXPECT(t, out->offsets != NULL, "output '%s': strings without offsets", io->name);
  for (size_t e = 0; e < n; e++) {
    EXPECT(t, out->offsets[e] >= 0 && out->offsets[e] <= out->offsets[e + 1],
           "output '%s': offset %zu is larger than the next", io->name, e);
  }
  EXPECT(t, (uint64_t)out->offsets[n] == out->nbytes,
         "output '%s': nbytes is %" PRIu64 ", the last offset %d", io->name, out->nbytes,
         out->offsets[n]);
}

void trial_run_well(trial *t, vonk_plugin_session *session, trial_batch *batch) {
  vonk_error err = VONK_ERROR_INIT;
  EXPECT(t, trial_run(t, session, batch, NULL, &err) == VONK_OK,
         "run of %" PRId64 " rows: %s", batch->rows, err.message);
  for (uint32_t i = 0; i < t->info.n_outputs; i++) {
    if (batch->outputs[i] != NULL) {
      expect_output(t, i, batch->outputs[i], batch->rows);
    }
  }
}

void trial_release_outputs(trial *t, trial_batch *batch) {
  for (uint32_t i = 0; i < t->info.n_outputs; i++) {
    vonk_tensor *out = &batch->output[i];
    if (out->release != NULL) {
      out->release(out);
      EXPECT(t, out->release == NULL, "output %u: release does not set itself to NULL",
             i);
    }
    *out = (vonk_tensor){.struct_size = (uint32_t)sizeof(*out)};
  }
}

void trial_compare(trial *t, const trial_batch *a, const trial_batch *b, uint32_t i,
                   const char *what) {
  const vonk_tensor *x = &a->output[i], *y = &b->output[i];
  const char *name = t->outputs[i].name;
  EXPECT(t,
         x->dtype == y->dtype && x->rank == y->rank && x->nbytes == y->nbytes &&
             memcmp(x->shape, y->shape, (size_t)x->rank * sizeof(*x->shape)) == 0,
         "output '%s': another dtype or shape %s", name, what);
  size_t n = trial_elements(x->rank, x->shape);
  bool same_offsets = x->dtype != VONK_BYTES ||
                      memcmp(x->offsets, y->offsets, (n + 1) * sizeof(*x->offsets)) == 0;
  EXPECT(t, same_offsets, "output '%s': other strings %s", name, what);
  const uint8_t *p = x->data, *q = y->data;
  for (uint64_t byte = 0; byte < x->nbytes; byte++) {
    EXPECT(t, p[byte] == q[byte],
           "output '%s': byte %" PRIu64 " of %" PRIu64 " is 0x%02X and 0x%02X %s", name,
           byte, x->nbytes, p[byte], q[byte], what);
  }
}

void trial_compare_all(trial *t, const trial_batch *a, const trial_batch *b,
                       const char *what) {
  for (uint32_t i = 0; i < t->info.n_outputs; i++) {
    trial_compare(t, a, b, i, what);
  }
}
