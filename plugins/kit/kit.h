/* What vonk's own plug-ins share: messages, memory, finding a framework's library,
 * checking tensors, reading protobuf. It is compiled into each plug-in, so each has its
 * own copy of what is static here. Nothing in it knows a framework.
 *
 * Thread safety: every function may be called from any thread, on objects of its own.
 */
#ifndef VONK_KIT_H
#define VONK_KIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kit/float_mode.h" /* vonk_kit_float_mode_get and _set, around a run */
#include "vonk/plugin.h"

#define VONK_TRY(call)                    \
  do {                                    \
    vonk_status vonk_try_status = (call); \
    if (vonk_try_status != VONK_OK) {     \
      return vonk_try_status;             \
    }                                     \
  } while (0)

/* --- errors and text (error.c) ----------------------------------------------------- */

/* Fills *err (which may be NULL) and returns code. Bytes that are not clean UTF-8 text,
 * as names out of a hostile file may hold, become '?'. */
vonk_status vonk_kit_fail(vonk_error *err, vonk_status code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for a text that is ready, with the framework's own code (0 = none). */
vonk_status vonk_kit_fail_text(vonk_error *err, vonk_status code, int64_t native_code,
                               const char *text);

/* Whether bytes are UTF-8 text without NUL. */
bool vonk_kit_is_text(const char *bytes, size_t nbytes);
/* Replaces what is not printable UTF-8. */
void vonk_kit_clean_text(char *text, size_t nbytes);

/* --- the host and its memory (memory.c) -------------------------------------------- */

/* The host that the plug-in was initialised by. The first one set is kept: the functions
 * of a plug-in are not told which host calls them, and every host is valid until the
 * process ends. */
const vonk_host *vonk_kit_host(void);
void vonk_kit_set_host(const vonk_host *host);

/* The end of every entry function: fills *plugin with as much of *table as it has room
 * for, and keeps the host. VONK_ABI if the host is of an older interface. */
vonk_status vonk_kit_init(const vonk_host *host, const vonk_plugin_v1 *table,
                          vonk_plugin_v1 *plugin, vonk_error *err);

/* From the host; NULL if there is none. */
void *vonk_kit_alloc(size_t nbytes);
void *vonk_kit_alloc_aligned(size_t nbytes, size_t align);
void vonk_kit_free(void *pointer);
vonk_status vonk_kit_fail_nomem(vonk_error *err, size_t nbytes);

/* Blocks that live and go together. Zero it to start. */
typedef struct kit_arena {
  struct kit_block *blocks;
} kit_arena;
/* Zeroed; *out_pointer is a pointer. */
vonk_status vonk_kit_new(kit_arena *, size_t count, size_t size, void *out_pointer,
                         vonk_error *err);
/* A NUL-terminated copy, cleaned as in vonk_kit_fail. */
vonk_status vonk_kit_new_text(kit_arena *, const char *bytes, size_t nbytes,
                              const char **out, vonk_error *err);
void vonk_kit_arena_release(kit_arena *);

/* Copies as much of one of our structs that grow as *out, whose struct_size says so, has
 * room for. */
void vonk_kit_give(void *out, uint32_t out_size, const void *ours, size_t our_size);

/* The plug-in's `describe`, for a model that has its tables ready. */
typedef struct kit_tables {
  const char *path;
  const vonk_model_info *info; /* how many there are */
  const vonk_io *inputs, *outputs;
} kit_tables;
vonk_status vonk_kit_describe(const kit_tables *, int32_t is_output, uint32_t index,
                              vonk_io *out, vonk_error *err);

/* --- a framework's library (library.c) --------------------------------------------- */

/* How to find one. All text is static. */
typedef struct kit_framework {
  const char *name;       /* for people: "ONNX Runtime" */
  const char *soname;     /* of the library with the interface: "libonnxruntime.so.1" */
  const char *variable;   /* of the environment: "VONK_ONNXRUNTIME_LIBRARY" */
  const char *config_key; /* of what set-up recorded: "onnxruntime" */
  const char *symbol;     /* which the library must have */
  const char *hint;       /* how to get it, the last part of an error */
  /* The beginnings of the file names of all its libraries, of which two copies would end
   * the process; ends with NULL. NULL: two copies get along. */
  const char *const *family;
} kit_framework;

/* Finds and loads it, as library.c explains. *out is a handle for dlsym, never to be
 * closed; *path, which lives for ever, is the file really loaded. */
vonk_status vonk_kit_framework_load(const kit_framework *, void **out, const char **path,
                                    vonk_error *err);

/* Starts a framework once: `start` is called at the first need, and again as long as it
 * fails; others wait meanwhile. The thread keeps its floating-point mode, which libraries
 * that are being loaded may change. Static: KIT_START(start). */
typedef struct kit_start {
  vonk_status (*start)(vonk_error *err);
  pthread_mutex_t lock;
  atomic_bool is_done;
} kit_start;
#define KIT_START(function) {.start = (function), .lock = PTHREAD_MUTEX_INITIALIZER}
vonk_status vonk_kit_started(kit_start *, vonk_error *err);

/* --- files (file.c) ---------------------------------------------------------------- */

typedef struct kit_slice {
  const uint8_t *data;
  size_t size;
} kit_slice;
bool vonk_kit_slice_equals(kit_slice slice, const char *text);

/* Maps a regular file of at most `most` bytes whole, read-only; data is NULL for an empty
 * one. `wanted` is what to give instead of a folder or device: "an .onnx or .ort file". */
vonk_status vonk_kit_map(const char *path, uint64_t most, const char *wanted,
                         kit_slice *out, vonk_error *err);
void vonk_kit_unmap(kit_slice);
/* VONK_MODEL if a file of that size is none to be mapped. */
vonk_status vonk_kit_size_check(const char *path, uint64_t nbytes, uint64_t most,
                                const char *wanted, vonk_error *err);

/* What a file is that is no model of any kind, by its first bytes: "is a Git LFS pointer,
 * ...: run ...". NULL if it may be one. */
const char *vonk_kit_what_else(const uint8_t *head, size_t n_head);

/* Whether path ends in extension. */
bool vonk_kit_has_extension(const char *path, const char *extension);

/* --- a model's files, at a path or in memory (source.c) ------------------------------ */

typedef struct kit_source {
  const char *path;        /* for messages; without files it is where the model lies */
  const vonk_files *files; /* NULL: they are in the file system */
} kit_source;

/* A copy of all but the files' bytes: it lives as long as the arena. */
vonk_status vonk_kit_source_keep(kit_arena *, kit_source source, kit_source *out,
                                 vonk_error *err);
/* vonk_kit_map for the model's own file, which in memory is where it is. */
vonk_status vonk_kit_source_map(const kit_source *, uint64_t most, const char *wanted,
                                kit_slice *out, vonk_error *err);
void vonk_kit_source_unmap(const kit_source *, kit_slice);
/* Of a model in memory: the file called name, which is relative to the folder of the
 * model's own file. NULL: there is none. */
const vonk_file *vonk_kit_source_find(const kit_source *, kit_slice name);
kit_slice vonk_kit_file_bytes(const vonk_file *);

/* --- protobuf's encoding (wire.c) --------------------------------------------------- */

/* A message is a row of fields. */
enum {
  KIT_WIRE_VARINT = 0,
  KIT_WIRE_8_BYTES = 1,
  KIT_WIRE_BYTES = 2,
  KIT_WIRE_4_BYTES = 5
};
typedef struct kit_field {
  uint32_t number;
  int32_t wire;
  uint64_t value;  /* of all but KIT_WIRE_BYTES */
  kit_slice bytes; /* of KIT_WIRE_BYTES: inside the message */
} kit_field;

/* Takes the next field off the front of *rest: 1, or 0 at the end, or -1 if it is
 * damaged. */
int vonk_kit_wire_next(kit_slice *rest, kit_field *out);
/* Takes a variable-length number off the front of *rest. */
bool vonk_kit_wire_number(kit_slice *rest, uint64_t *out);

/* --- tensors (tensor.c) ------------------------------------------------------------- */

/* One row per element type. */
typedef struct kit_dtype {
  vonk_dtype dtype;
  uint32_t bytes; /* of one element; 0 = varying */
  const char *name;
} kit_dtype;
const kit_dtype *vonk_kit_dtype(vonk_dtype dtype); /* NULL: unknown */

/* Elements of a shape, VONK_INVALID if negative or too many. */
vonk_status vonk_kit_count(const int64_t *shape, int32_t rank, size_t *out);

/* "[n, 784]" */
void vonk_kit_shape_text(const int64_t *shape, int32_t rank, const char *const *dim_names,
                         char *out, size_t capacity);

/* Checks the host's tensor ("input" or "output", as kind says) against what the model
 * says: dtype, rank, shape, room, and the order of a string tensor's offsets. Counts its
 * elements. */
vonk_status vonk_kit_tensor_check(const vonk_tensor *tensor, const vonk_io *io,
                                  const char *kind, size_t *out_count, vonk_error *err);

/* Checks a run against the model at path: how many inputs and outputs it has, and that
 * the process was not forked since `pid` (0 = no matter) started the session's threads. */
vonk_status vonk_kit_run_check(const char *path, const vonk_model_info *info, pid_t pid,
                               const vonk_run *run, vonk_error *err);

/* Whether nbytes at data overlap with an input of the run, so that an output that is
 * there must be copied. */
bool vonk_kit_is_input_memory(const vonk_run *run, const void *data, size_t nbytes);

/* --- what users say of inputs and outputs (spec.c) ----------------------------------- */

/* One entry of "image:f32[-1,3,12,12],ids:i64[-1,16],label": a name, and what else was
 * said. */
typedef struct kit_spec {
  const char *name;
  vonk_dtype dtype;             /* 0: not said */
  int32_t rank;                 /* -1: no shape was said */
  int64_t shape[VONK_MAX_RANK]; /* -1 = free */
} kit_spec;

/* Parses the text of an option; `option` is its name, for messages. What it finds, at
 * least one entry, no name twice, lives as long as the arena. */
vonk_status vonk_kit_spec_parse(kit_arena *, const char *option, const char *text,
                                const kit_spec **out, uint32_t *out_count,
                                vonk_error *err);

/* --- outputs (output.c) ------------------------------------------------------------- */

/* What an output owns until the host releases it. */
typedef struct kit_output {
  void *value; /* the framework's own tensor; NULL if the elements are in copy */
  void *owner; /* what must live as long */
  void (*drop)(void *value, void *owner); /* lets go of both; NULL: nothing to do */
  int64_t shape[VONK_MAX_RANK];
  max_align_t copy[];
} kit_output;

/* With room for nbytes of elements; freed with vonk_kit_free until it is given. */
vonk_status vonk_kit_output_new(size_t nbytes, kit_output **out, vonk_error *err);
/* For the `count` strings of output `name`, nbytes in all: room for count + 1 offsets, and
 * for the bytes behind them. VONK_BACKEND if int32 cannot count them. */
vonk_status vonk_kit_output_new_texts(const char *name, size_t count, size_t nbytes,
                                      kit_output **out, int32_t **offsets, char **text,
                                      vonk_error *err);
/* Fills *tensor, which owns the output from then on. Read-only, for it may be a constant of
 * the model or have its memory in common with another output; offsets are NULL. */
void vonk_kit_output_give(kit_output *, vonk_dtype dtype, int32_t rank,
                          const int64_t *shape, void *data, uint64_t nbytes,
                          vonk_tensor *tensor);

#endif /* VONK_KIT_H */
