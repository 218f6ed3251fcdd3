/* Fuzz target: what is read of a bundle before its digests are checked, and after.
 *
 * An input that begins like a zip file is read as one. Any other is a manifest, read
 * beside files that are there: a fuzzer cannot find a digest, so none is checked, and what
 * the manifest takes from the files is looked at all the same. What comes out is held
 * against what bundle.h promises. */
#include <math.h>
#include <string.h>

#include "bundle/internal.h"
#include "fuzz/target.h"

static const uint8_t numbers[24] = {1, 0, 1};
static const bundle_file present[] = {
    {.name = "labels.txt", .data = (const uint8_t *)"a\nb\nc\n", .size = 6},
    {.name = "model/net.mock", .data = (const uint8_t *)"input", .size = 5},
    {.name = "model/words.txt", .size = 0},
    {.name = "selftest/x.bin", .data = numbers, .size = sizeof numbers},
};
enum { N_PRESENT = sizeof present / sizeof present[0] };

static bool is_text(const char *text) { return vonk_text_is_utf8(text, strlen(text)); }

static void check_ports(const vonk_port *ports, uint32_t n) {
  CHECK(n >= 1 && n <= VONK_BUNDLE_MAX_PORTS);
  for (uint32_t i = 0; i < n; i++) {
    const vonk_port *port = &ports[i];
    CHECK(is_text(port->name) && port->name[0] != '\0' && is_text(port->tensor));
    CHECK(port->dtype >= VONK_F16 && port->dtype <= VONK_BYTES);
    CHECK(port->rank >= -1 && port->rank <= VONK_MAX_RANK);
    for (int32_t d = 0; d < port->rank; d++) {
      CHECK(port->shape[d] >= -1 && port->shape[d] <= INT32_MAX);
      CHECK(port->dim_names[d] == NULL || is_text(port->dim_names[d]));
    }
    for (uint32_t k = 0; k < port->n_labels; k++) {
      CHECK(is_text(port->labels[k]) && strchr(port->labels[k], '\n') == NULL);
    }
  }
}

static void check_steps(const vonk_manifest *m) {
  for (uint32_t i = 0; i < m->n_steps; i++) {
    const vonk_step *step = &m->steps[i];
    CHECK(step->kind == VONK_STEP_RESCALE || step->kind == VONK_STEP_NORMALIZE);
    CHECK(step->input < m->n_inputs && step->n >= 1);
    CHECK(step->n == 1 || (step->axis > 0 && step->axis < m->inputs[step->input].rank &&
                           m->inputs[step->input].shape[step->axis] == step->n));
    for (uint32_t k = 0; k < step->n; k++) {
      CHECK(isfinite(step->a[k]) && isfinite(step->b[k]));
    }
    CHECK(is_text(m->step_texts[i]));
  }
}

static void check_side(const vonk_selftest_tensor *tensors, uint32_t n, int64_t rows,
                       const vonk_port *ports, uint32_t n_ports) {
  for (uint32_t i = 0; i < n; i++) {
    const vonk_selftest_tensor *t = &tensors[i];
    uint64_t elements = 1;
    CHECK(t->port < n_ports && (i == 0 || tensors[i - 1].port < t->port));
    CHECK(t->rank >= 1 && t->shape[0] == rows);
    for (int32_t d = 0; d < t->rank; d++) {
      elements *= (uint64_t)t->shape[d];
    }
    size_t size = vonk_port_item_size(ports[t->port].dtype);
    CHECK(size == 0 ? t->offsets[elements] == (int32_t)t->nbytes
                    : t->nbytes == elements * size);
    unsigned sum = 0; /* every byte is there */
    for (uint64_t k = 0; k < t->nbytes; k++) {
      sum += ((const uint8_t *)t->data)[k];
    }
    CHECK(sum <= 255 * t->nbytes);
  }
}

static void check_manifest(const vonk_bundle *bundle) {
  const vonk_manifest *m = &bundle->manifest;
  check_ports(m->inputs, m->n_inputs);
  check_ports(m->outputs, m->n_outputs);
  check_steps(m);
  CHECK(m->selftest.rows == 0 || m->selftest.n_inputs == m->n_inputs);
  check_side(m->selftest.inputs, m->selftest.n_inputs, m->selftest.rows, m->inputs,
             m->n_inputs);
  check_side(m->selftest.outputs, m->selftest.n_outputs, m->selftest.rows, m->outputs,
             m->n_outputs);
  for (uint32_t i = 0; i < m->n_options; i++) {
    CHECK(strcmp(m->options[i].key, "allow_native_code") != 0);
    CHECK(i == 0 || strcmp(m->options[i - 1].key, m->options[i].key) < 0);
  }
  CHECK(bundle->model.n_files >= 1);
  for (uint32_t i = 0; i < bundle->model.n_files; i++) {
    const char *name = bundle->model.files[i].name;
    CHECK(vonk_bundle_name_fault(name, strlen(name)) == NULL);
    CHECK(i == 0 || strcmp(bundle->model.files[i - 1].name, name) < 0);
  }
}

static vonk_status read_all(vonk_bundle *bundle, const uint8_t *data, size_t size,
                            vonk_error *err) {
  VONK_TRY(vonk_new_string("/nowhere/b.vonk", &bundle->path, err));
  if (size >= 2 && memcmp(data, "PK", 2) == 0) {
    bundle->map = (vonk_mapping){data, size};
    VONK_TRY(vonk_zip_read(bundle, err));
  } else {
    bundle->text = data;
    bundle->n_text = size;
    bundle->n_files = N_PRESENT;
    VONK_TRY(vonk_bundle_new(bundle, N_PRESENT, sizeof *present, &bundle->files, err));
    memcpy(bundle->files, present, sizeof present);
  }
  VONK_TRY(vonk_manifest_read(bundle, err));
  VONK_TRY(vonk_labels_load(bundle, err));
  return vonk_selftest_load(bundle, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  vonk_bundle *bundle;
  vonk_error err = VONK_ERROR_INIT;
  CHECK(vonk_new(1, sizeof *bundle, &bundle, NULL) == VONK_OK);
  vonk_status status = read_all(bundle, data, size, &err);
  if (status == VONK_OK) {
    check_manifest(bundle);
  } else {
    CHECK(status == VONK_MODEL || status == VONK_UNSUPPORTED);
    CHECK(err.code == status && is_text(err.message));
    CHECK(strncmp(err.message, "bundle '/nowhere/b.vonk': ", 26) == 0);
  }
  bundle->map = (vonk_mapping){0}; /* not ours */
  vonk_bundle_release(bundle);
  (void)vonk_bundle_recognise("/nowhere/b", data, size);
  return 0;
}
