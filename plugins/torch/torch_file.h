/* What kind of file this is, and what it holds, told without PyTorch. */
#ifndef VONK_TORCH_FILE_H
#define VONK_TORCH_FILE_H

#include "zip.h"

typedef enum torch_file_kind {
  TORCH_FILE_OTHER = 0, /* none of PyTorch's */
  TORCH_FILE_SCRIPT,
  TORCH_FILE_PACKAGE,  /* AOTInductor's */
  TORCH_FILE_EXPORTED, /* torch.export.save */
  TORCH_FILE_PICKLE,   /* torch.save: weights, a checkpoint, a module */
  TORCH_FILE_SAFETENSORS
} torch_file_kind;

/* By the file's first bytes, TORCH_FILE_OTHER for a zip archive. */
torch_file_kind vonk_torch_kind_of_head(const uint8_t *head, size_t n_head);
torch_file_kind vonk_torch_kind_of_archive(const zip_archive *);
bool vonk_torch_is_zip(const uint8_t *head, size_t n_head);

/* Fails with what a file is that does not run, and with the line to type. */
vonk_status vonk_torch_refuse(const char *path, torch_file_kind kind, kit_slice file,
                              vonk_error *err);

#endif /* VONK_TORCH_FILE_H */
