/* TorchScript files, looked at before PyTorch reads them. */
#ifndef VONK_TORCH_SCRIPT_FILE_H
#define VONK_TORCH_SCRIPT_FILE_H

#include "torch_plugin.h"

/* Checks program text: NULL, or what in it vonk does not run, in the arena. */
const char *vonk_torch_code_check(kit_slice text, char *room, size_t capacity);

/* A tensor in a pickle, in the order in which they stand there. */
typedef struct pickle_tensor {
  vonk_dtype dtype; /* 0: vonk has none like it */
  int32_t rank;
  int64_t shape[VONK_MAX_RANK];
} pickle_tensor;

/* Walks through a pickle without making anything of it. Its tensors have to lie inside
 * the archive's entries below `folder`; NULL: their bytes are not looked for. *out, which
 * may be NULL, gets the tensors. */
vonk_status vonk_torch_pickle_check(const zip_archive *, kit_slice pickle,
                                    const char *folder, kit_arena *arena,
                                    const pickle_tensor **out, uint32_t *n_out,
                                    vonk_error *err);

/* All of that for a mapped TorchScript file. *out gets the tensors it was traced with. */
typedef struct script_file {
  const pickle_tensor *examples;
  uint32_t n_examples;
} script_file;
vonk_status vonk_torch_script_check(const zip_archive *, kit_arena *, script_file *out,
                                    vonk_error *err);

#endif /* VONK_TORCH_SCRIPT_FILE_H */
