/* Device names as users write them, "cpu", "cuda", "cuda:1", and as frameworks count them
 * (Arrow's ArrowDeviceType). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

static const struct {
  const char *name;
  int32_t kind;
} device_kinds[] = {
    {"cpu", VONK_DEVICE_CPU},
    {"cuda", VONK_DEVICE_CUDA},
    {"rocm", VONK_DEVICE_ROCM},
};
enum { N_DEVICE_KINDS = sizeof device_kinds / sizeof device_kinds[0] };

vonk_status vonk_device_parse(const char *text, vonk_device *out, vonk_error *err) {
  size_t name_size = strcspn(text, ":");
  for (size_t k = 0; k < N_DEVICE_KINDS; k++) {
    const char *name = device_kinds[k].name;
    if (strlen(name) != name_size || strncmp(text, name, name_size) != 0) {
      continue;
    }
    long index = 0;
    if (text[name_size] == ':') {
      char *end = NULL;
      index = strtol(text + name_size + 1, &end, 10);
      if (end == text + name_size + 1 || *end != '\0' || index < 0 || index > 1023) {
        break;
      }
    }
    if (device_kinds[k].kind == VONK_DEVICE_CPU && index > 0) {
      break; /* there is one */
    }
    *out = (vonk_device){device_kinds[k].kind, (int32_t)index};
    return VONK_OK;
  }
  return vonk_fail(err, VONK_INVALID,
                   "option device: '%s' is no device: write cpu, cuda, cuda:N or rocm:N, "
                   "such as device=cuda:0",
                   text);
}

void vonk_device_describe(vonk_device device, char out[32]) {
  const char *name = "device";
  for (size_t k = 0; k < N_DEVICE_KINDS; k++) {
    if (device_kinds[k].kind == device.kind) {
      name = device_kinds[k].name;
    }
  }
  if (device.kind == VONK_DEVICE_CPU) {
    snprintf(out, 32, "%s", name);
  } else {
    snprintf(out, 32, "%s:%" PRId32, name, device.index);
  }
}
