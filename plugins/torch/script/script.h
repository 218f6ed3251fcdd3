/* The interface between the PyTorch plug-in, which is C, and its TorchScript half, which
 * is C++ and tied to one minor version of PyTorch. Both are built by us, from the same
 * sources; the struct's size and the version in the entry's name tell if they fit.
 *
 * Nothing throws. Texts and pointers handed out live as long as the module. A failure is
 * a vonk_status and PyTorch's own message, as it is, in `message`.
 */
#ifndef VONK_TORCH_SCRIPT_H
#define VONK_TORCH_SCRIPT_H

#include <stddef.h>
#include <stdint.h>

#include "vonk/plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* at::Tensor; the same that PyTorch's C functions call AtenTensorHandle. */
typedef struct aten_tensor aten_tensor;
typedef struct script_module script_module;

enum { SCRIPT_MESSAGE_BYTES = 4096 };
typedef struct script_message {
  char text[SCRIPT_MESSAGE_BYTES];
} script_message;

/* One argument of forward that is a tensor. */
typedef struct script_argument {
  const char *name;
  int32_t is_optional; /* it may be left out */
  uint32_t position;   /* among all arguments of forward */
} script_argument;

/* What forward returns. */
enum {
  SCRIPT_TENSOR = 0,
  SCRIPT_TUPLE = 1, /* or a NamedTuple: its fields have names */
  SCRIPT_LIST = 2,  /* how many is not known before a run */
  SCRIPT_DICT = 3   /* of strings to tensors */
};

typedef struct script_facts {
  uint32_t n_arguments;
  const script_argument *arguments;
  int32_t returns;
  uint32_t n_fields;         /* of a tuple */
  const char *const *fields; /* NULL: they have no names */
  int64_t n_params;          /* numbers in floating-point and quantised tensors */
  int64_t weight_bytes;      /* of all tensors of the module */
  int32_t is_frozen;
} script_facts;

/* One run. Inputs are borrowed. */
typedef struct script_call {
  uint32_t n_inputs;
  aten_tensor *const *inputs;
  uint32_t capacity;     /* of outputs */
  aten_tensor **outputs; /* contiguous, on the CPU, of memory that is nobody else's; owned
                            by the caller, by PyTorch's aoti_torch_delete_tensor_object */
  uint32_t n_outputs;
  const char *
      *names; /* NULL, or room for `capacity` names of a dictionary's outputs: filled
                 in; they live as long as the module */
  /* NULL, or the keys of a dictionary that are wanted, in this order. */
  const char *const *keys;
  uint32_t n_keys;
} script_call;

typedef struct script_api {
  uint32_t struct_size;
  const char *version; /* of the PyTorch it was built with */
  /* Loads a TorchScript file's bytes, which it does not keep. */
  vonk_status (*open)(const uint8_t *data, size_t size, script_module **out,
                      script_message *message);
  const script_facts *(*facts)(const script_module *);
  /* Says which arguments, by index and rising, are inputs; the others take their
   * defaults. Once, before the first run. */
  vonk_status (*choose)(script_module *, const uint32_t *arguments, uint32_t n,
                        script_message *message);
  vonk_status (*run)(script_module *, script_call *, script_message *message);
  void (*release)(script_module *);
} script_api;

#define SCRIPT_ENTRY "vonk_torchscript_v1"
typedef const script_api *(*script_entry)(void);

#ifdef __cplusplus
}
#endif
#endif /* VONK_TORCH_SCRIPT_H */
