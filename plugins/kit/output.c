/* Outputs that a plug-in hands over: what they own until the host releases them. */
#include <string.h>

#include "kit/kit.h"

vonk_status vonk_kit_output_new(size_t nbytes, kit_output **out, vonk_error *err) {
  kit_output *made =
      nbytes > SIZE_MAX - sizeof *made ? NULL : vonk_kit_alloc(sizeof *made + nbytes);
  if (made == NULL) {
    return vonk_kit_fail_nomem(err, nbytes);
  }
  memset(made, 0, sizeof *made);
  *out = made;
  return VONK_OK;
}

vonk_status vonk_kit_output_new_texts(const char *name, size_t count, size_t nbytes,
                                      kit_output **out, int32_t **offsets, char **text,
                                      vonk_error *err) {
  if (nbytes > INT32_MAX || count >= INT32_MAX) {
    return vonk_kit_fail(err, VONK_BACKEND,
                         "output '%s': has %zu bytes of text: at most %d can be "
                         "returned: use a smaller batch",
                         name, nbytes, INT32_MAX);
  }
  size_t room = (count + 1) * sizeof **offsets;
  VONK_TRY(vonk_kit_output_new(room + nbytes, out, err));
  *offsets = (int32_t *)(void *)(*out)->copy;
  *text = (char *)(*out)->copy + room;
  return VONK_OK;
}

static void release(vonk_tensor *tensor) {
  kit_output *output = tensor->private_data;
  if (output->drop != NULL) {
    output->drop(output->value, output->owner);
  }
  vonk_kit_free(output);
  tensor->private_data = NULL;
  tensor->release = NULL;
}

void vonk_kit_output_give(kit_output *output, vonk_dtype dtype, int32_t rank,
                          const int64_t *shape, void *data, uint64_t nbytes,
                          vonk_tensor *tensor) {
  if (rank > 0) {
    memcpy(output->shape, shape, (size_t)rank * sizeof *shape);
  }
  tensor->flags = VONK_READONLY;
  tensor->dtype = dtype;
  tensor->rank = rank;
  tensor->shape = output->shape;
  tensor->data = data;
  tensor->offsets = NULL;
  tensor->nbytes = nbytes;
  tensor->device = (vonk_device){VONK_DEVICE_CPU, 0};
  tensor->private_data = output;
  tensor->release = release;
}
