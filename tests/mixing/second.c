/* A program that has loaded a copy of a framework, or a part of one, before vonk does.
 *
 *   second IN IN_WIDTH EXPECTED EXPECTED_WIDTH MODEL LIBRARY...
 *
 * Loads the libraries as a program does that brings a framework along, then opens MODEL
 * and runs it. Prints the library that vonk uses, or the error. Ends with 0 in both cases:
 * what must not happen is that the process is ended. */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "host.h"

int main(int argc, char **argv) {
  enum { MODEL = 5, FIRST_LIBRARY = 6 };
  if (argc < FIRST_LIBRARY) {
    die("usage: second IN IN_WIDTH EXPECTED EXPECTED_WIDTH MODEL LIBRARY...");
  }
  for (int i = FIRST_LIBRARY; i < argc; i++) {
    if (dlopen(argv[i], RTLD_NOW | RTLD_GLOBAL) == NULL) {
      die("%s", dlerror());
    }
  }
  host_floats in = host_read(argv[1], strtol(argv[2], NULL, 10));
  host_floats expected = host_read(argv[3], strtol(argv[4], NULL, 10));
  vonk_error err = {.struct_size = sizeof err};
  vonk_model *model = host_open(argv[MODEL], &err);
  if (model == NULL) {
    printf("%s: %s\n", vonk_status_name(err.code), err.message);
    return 0;
  }
  vonk_predictor *predictor = host_bind(model, "f", in.width);
  double difference = host_predict(predictor, in, expected, NULL);
  if (!(difference <= 1e-5)) {
    die("differs by %g", difference);
  }
  printf("%s\n", vonk_model_summarize(model)->runtime_path);
  vonk_predictor_release(predictor);
  vonk_model_close(model);
  free(in.values);
  free(expected.values);
  return 0;
}
