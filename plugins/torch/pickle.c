/* A pickle, walked through without making anything of it.
 *
 * A pickle is a program for a small stack machine. PyTorch's own loader of TorchScript
 * runs a harmless part of it. How far it trusts what a file says of its tensors (how many
 * numbers a block of bytes holds, where in it one begins and ends) depends on the
 * version, and a lie would make it read beyond its memory. So the machine is run here
 * first, on stand-ins, with the instructions that PyTorch writes and no others.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "script_file.h"

typedef enum value_kind {
  OTHER,
  NUMBER,
  WORDS,
  GLOBAL,
  TUPLE,
  STORAGE,
  MARKER
} value_kind;

/* A stand-in. */
typedef struct value {
  value_kind kind;
  vonk_dtype dtype;      /* of a storage */
  int64_t number;        /* NUMBER; of a storage: its elements */
  kit_slice text;        /* WORDS; GLOBAL: "module\nname" */
  uint32_t first, count; /* TUPLE: of the pool */
} value;

typedef struct values {
  value *items;
  uint32_t n, capacity;
} values;

typedef struct machine {
  const zip_archive *archive;
  const char *folder; /* of the bytes; NULL: not looked for */
  kit_arena *arena;
  kit_slice in;
  size_t at;
  values stack, memo, pool;
  pickle_tensor *tensors;
  uint32_t n_tensors, room_tensors;
} machine;

static vonk_status fail(const machine *m, const char *why, vonk_error *err) {
  return vonk_kit_fail(
      err, VONK_MODEL,
      "'%s': is no TorchScript file that PyTorch wrote: %s: get the file "
      "again, or save the model again",
      m->archive->path, why);
}

static vonk_status grow(kit_arena *arena, uint32_t used, uint32_t *capacity, size_t size,
                        void *items, vonk_error *err) {
  if (used < *capacity) {
    return VONK_OK;
  }
  if (used > UINT32_MAX / 4) {
    return vonk_kit_fail_nomem(err, SIZE_MAX);
  }
  uint32_t wanted = used < 64 ? 128 : used * 2;
  void *old, *fresh;
  memcpy(&old, items, sizeof old);
  VONK_TRY(vonk_kit_new(arena, wanted, size, &fresh, err));
  if (used != 0) {
    memcpy(fresh, old, (size_t)used * size);
  }
  memcpy(items, &fresh, sizeof fresh);
  *capacity = wanted;
  return VONK_OK;
}

static vonk_status push(machine *m, values *to, value item, vonk_error *err) {
  VONK_TRY(grow(m->arena, to->n, &to->capacity, sizeof item, &to->items, err));
  to->items[to->n++] = item;
  return VONK_OK;
}

static vonk_status pop(machine *m, value *out, vonk_error *err) {
  if (m->stack.n == 0) {
    return fail(m, "its data are damaged", err);
  }
  *out = m->stack.items[--m->stack.n];
  return VONK_OK;
}

/* --- reading ------------------------------------------------------------------------------ */

/* The next n bytes; NULL if there are fewer. */
static const uint8_t *take(machine *m, size_t n) {
  const uint8_t *bytes = m->in.data + m->at;
  if (n > m->in.size - m->at) {
    return NULL;
  }
  m->at += n;
  return bytes;
}

static vonk_status fail_cut(const machine *m, vonk_error *err) {
  return fail(m, "its data are cut off", err);
}

/* A number of n bytes, the lowest first; of four and more bytes it has a sign. */
static vonk_status take_number(machine *m, size_t n, int64_t *out, vonk_error *err) {
  const uint8_t *bytes = take(m, n);
  if (bytes == NULL) {
    return fail_cut(m, err);
  }
  uint64_t number = 0;
  for (size_t i = 0; i < n; ++i) {
    number |= (uint64_t)bytes[i] << (8 * i);
  }
  if (n >= 3 && n < 8 && (bytes[n - 1] & 0x80u) != 0) {
    number |= UINT64_MAX << (8 * n);
  }
  memcpy(out, &number, sizeof number);
  return VONK_OK;
}

static vonk_status take_text(machine *m, size_t n_size, vonk_error *err) {
  int64_t size = 0;
  VONK_TRY(take_number(m, n_size, &size, err));
  const uint8_t *bytes = size < 0 ? NULL : take(m, (size_t)size);
  if (bytes == NULL) {
    return fail_cut(m, err);
  }
  return push(m, &m->stack, (value){.kind = WORDS, .text = {bytes, (size_t)size}}, err);
}

static vonk_status take_line(machine *m, kit_slice *out, vonk_error *err) {
  const uint8_t *start = m->in.data + m->at;
  const uint8_t *end =
      m->at == m->in.size ? NULL : memchr(start, '\n', m->in.size - m->at);
  if (end == NULL) {
    return fail_cut(m, err);
  }
  *out = (kit_slice){start, (size_t)(end - start)};
  m->at += out->size + 1;
  return VONK_OK;
}

/* --- names -------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  vonk_dtype dtype;
  uint32_t bytes;
} storages[] = {
    {"FloatStorage", VONK_F32, 4},   {"DoubleStorage", VONK_F64, 8},
    {"HalfStorage", VONK_F16, 2},    {"BFloat16Storage", VONK_BF16, 2},
    {"LongStorage", VONK_I64, 8},    {"IntStorage", VONK_I32, 4},
    {"ShortStorage", VONK_I16, 2},   {"CharStorage", VONK_I8, 1},
    {"ByteStorage", VONK_U8, 1},     {"BoolStorage", VONK_BOOL8, 1},
    {"UInt16Storage", VONK_U16, 2},  {"UInt32Storage", VONK_U32, 4},
    {"UInt64Storage", VONK_U64, 8},  {"ComplexFloatStorage", 0, 8},
    {"ComplexDoubleStorage", 0, 16}, {"QInt8Storage", 0, 1},
    {"QUInt8Storage", 0, 1},         {"QInt32Storage", 0, 4},
};

static bool begins(kit_slice text, const char *start) {
  return text.size >= strlen(start) && memcmp(text.data, start, strlen(start)) == 0;
}

static bool is_known_global(kit_slice name) {
  static const char *const known[] = {
      "torch._utils\n_rebuild_tensor_v2",    "collections\nOrderedDict",
      "torch.jit._pickle\nrestore_type_tag", "torch.jit._pickle\nbuild_intlist",
      "torch.jit._pickle\nbuild_doublelist", "torch.jit._pickle\nbuild_boollist",
      "torch.jit._pickle\nbuild_tensorlist", "torch\ndevice"};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; ++i) {
    if (vonk_kit_slice_equals(name, known[i])) {
      return true;
    }
  }
  for (size_t i = 0; i < sizeof storages / sizeof storages[0]; ++i) {
    if (begins(name, "torch\n") && name.size == 6 + strlen(storages[i].name) &&
        memcmp(name.data + 6, storages[i].name, name.size - 6) == 0) {
      return true;
    }
  }
  return begins(name, "__torch__") && !begins(name, "__torch__.torch.classes");
}

static vonk_status take_global(machine *m, vonk_error *err) {
  size_t start = m->at;
  kit_slice module = {0}, name = {0};
  VONK_TRY(take_line(m, &module, err));
  VONK_TRY(take_line(m, &name, err));
  kit_slice both = {m->in.data + start, module.size + 1 + name.size};
  if (begins(both, "__torch__.torch.classes")) {
    return vonk_kit_fail(err, VONK_UNSUPPORTED,
                         "'%s': has objects of classes written in C++ (%.*s), as "
                         "PyTorch's quantised modules do: convert the model to ONNX",
                         m->archive->path, (int)(both.size < 100 ? both.size : 100),
                         (const char *)both.data);
  }
  if (!is_known_global(both)) {
    char why[200];
    snprintf(why, sizeof why, "its data name '%.*s' of '%.*s'",
             (int)(name.size < 60 ? name.size : 60), (const char *)name.data,
             (int)(module.size < 60 ? module.size : 60), (const char *)module.data);
    return fail(m, why, err);
  }
  return push(m, &m->stack, (value){.kind = GLOBAL, .text = both}, err);
}

/* --- tensors ------------------------------------------------------------------------------ */

static const value *item_of(const machine *m, const value *tuple, uint32_t i) {
  return &m->pool.items[tuple->first + i];
}

/* ("storage", type, key, place, elements) becomes a storage, whose bytes are there. */
static vonk_status take_storage(machine *m, vonk_error *err) {
  value id = {0};
  VONK_TRY(pop(m, &id, err));
  bool is_id = id.kind == TUPLE && id.count == 5 && item_of(m, &id, 0)->kind == WORDS &&
               item_of(m, &id, 1)->kind == GLOBAL && item_of(m, &id, 2)->kind == WORDS &&
               item_of(m, &id, 4)->kind == NUMBER && item_of(m, &id, 4)->number >= 0;
  size_t i = 0;
  for (; is_id && i < sizeof storages / sizeof storages[0]; ++i) {
    kit_slice type = item_of(m, &id, 1)->text;
    if (type.size == 6 + strlen(storages[i].name) &&
        memcmp(type.data + 6, storages[i].name, type.size - 6) == 0) {
      break;
    }
  }
  if (!is_id || i == sizeof storages / sizeof storages[0]) {
    return fail(m, "a tensor in it has no known storage", err);
  }
  int64_t elements = item_of(m, &id, 4)->number;
  kit_slice key = item_of(m, &id, 2)->text;
  char name[128];
  if (m->folder != NULL && elements != 0) {
    snprintf(name, sizeof name, "%s%.*s", m->folder, (int)(key.size < 64 ? key.size : 64),
             (const char *)key.data);
    const zip_entry *entry = vonk_torch_zip_find(m->archive, name);
    if (entry == NULL || (uint64_t)elements > entry->size / storages[i].bytes) {
      return fail(m, "a tensor in it has fewer bytes than it says", err);
    }
  }
  return push(m, &m->stack,
              (value){.kind = STORAGE, .dtype = storages[i].dtype, .number = elements},
              err);
}

static bool is_numbers(const machine *m, const value *tuple) {
  for (uint32_t i = 0; tuple->kind == TUPLE && i < tuple->count; ++i) {
    if (item_of(m, tuple, i)->kind != NUMBER || item_of(m, tuple, i)->number < 0) {
      return false;
    }
  }
  return tuple->kind == TUPLE;
}

/* Whether a tensor of these sizes and strides ends inside its storage. */
static bool is_inside(const machine *m, const value *storage, int64_t offset,
                      const value *sizes, const value *strides) {
  int64_t last = offset;
  for (uint32_t i = 0; i < sizes->count; ++i) {
    int64_t size = item_of(m, sizes, i)->number, step;
    if (size == 0) {
      return true;
    }
    if (__builtin_mul_overflow(size - 1, item_of(m, strides, i)->number, &step) ||
        __builtin_add_overflow(last, step, &last)) {
      return false;
    }
  }
  return last < storage->number;
}

static vonk_status take_tensor(machine *m, const value *arguments, vonk_error *err) {
  bool is_good = arguments->kind == TUPLE && arguments->count >= 4;
  const value *storage = NULL, *offset = NULL, *sizes = NULL, *strides = NULL;
  if (is_good) {
    storage = item_of(m, arguments, 0);
    offset = item_of(m, arguments, 1);
    sizes = item_of(m, arguments, 2);
    strides = item_of(m, arguments, 3);
    is_good = storage->kind == STORAGE && offset->kind == NUMBER && offset->number >= 0 &&
              is_numbers(m, sizes) && is_numbers(m, strides) &&
              sizes->count == strides->count &&
              is_inside(m, storage, offset->number, sizes, strides);
  }
  if (!is_good) {
    return fail(m, "a tensor in it reaches beyond its bytes", err);
  }
  VONK_TRY(grow(m->arena, m->n_tensors, &m->room_tensors, sizeof *m->tensors, &m->tensors,
                err));
  pickle_tensor *tensor = &m->tensors[m->n_tensors++];
  *tensor = (pickle_tensor){.dtype = storage->dtype};
  if (sizes->count > VONK_MAX_RANK) {
    tensor->dtype = 0;
    return VONK_OK;
  }
  tensor->rank = (int32_t)sizes->count;
  for (uint32_t i = 0; i < sizes->count; ++i) {
    tensor->shape[i] = item_of(m, sizes, i)->number;
  }
  return VONK_OK;
}

/* --- instructions -------------------------------------------------------------------------- */

/* The place of the last marker, in *out. */
static vonk_status find_marker(machine *m, uint32_t *out, vonk_error *err) {
  for (uint32_t i = m->stack.n; i-- > 0;) {
    if (m->stack.items[i].kind == MARKER) {
      *out = i;
      return VONK_OK;
    }
  }
  return fail(m, "its data are damaged", err);
}

static vonk_status make_tuple(machine *m, uint32_t first, bool has_marker,
                              vonk_error *err) {
  value tuple = {.kind = TUPLE, .first = m->pool.n};
  for (uint32_t i = first + has_marker; i < m->stack.n; ++i) {
    VONK_TRY(push(m, &m->pool, m->stack.items[i], err));
    ++tuple.count;
  }
  m->stack.n = first;
  return push(m, &m->stack, tuple, err);
}

static vonk_status drop_to_marker(machine *m, vonk_error *err) {
  uint32_t marker = 0;
  VONK_TRY(find_marker(m, &marker, err));
  m->stack.n = marker;
  return m->stack.n == 0 ? fail(m, "its data are damaged", err) : VONK_OK;
}

static vonk_status call(machine *m, vonk_error *err) {
  value arguments = {0}, function = {0};
  VONK_TRY(pop(m, &arguments, err));
  VONK_TRY(pop(m, &function, err));
  if (function.kind != GLOBAL) {
    return fail(m, "its data are damaged", err);
  }
  if (vonk_kit_slice_equals(function.text, "torch._utils\n_rebuild_tensor_v2")) {
    VONK_TRY(take_tensor(m, &arguments, err));
  }
  return push(m, &m->stack, (value){.kind = OTHER}, err);
}

static vonk_status remember(machine *m, size_t n, vonk_error *err) {
  int64_t index = 0;
  VONK_TRY(take_number(m, n, &index, err));
  if (m->stack.n == 0 || index < 0 || index > (int64_t)m->memo.n) {
    return fail(m, "its data are damaged", err);
  }
  value top = m->stack.items[m->stack.n - 1];
  if (index == (int64_t)m->memo.n) {
    return push(m, &m->memo, top, err);
  }
  m->memo.items[index] = top;
  return VONK_OK;
}

static vonk_status recall(machine *m, size_t n, vonk_error *err) {
  int64_t index = 0;
  VONK_TRY(take_number(m, n, &index, err));
  if (index < 0 || index >= (int64_t)m->memo.n) {
    return fail(m, "its data are damaged", err);
  }
  return push(m, &m->stack, m->memo.items[index], err);
}

static vonk_status push_number(machine *m, size_t n, vonk_error *err) {
  value number = {.kind = NUMBER};
  VONK_TRY(take_number(m, n, &number.number, err));
  return push(m, &m->stack, number, err);
}

/* Removes n values and leaves what is below. */
static vonk_status drop(machine *m, uint32_t n, vonk_error *err) {
  if (m->stack.n < n + 1) {
    return fail(m, "its data are damaged", err);
  }
  m->stack.n -= n;
  return VONK_OK;
}

static vonk_status take_long(machine *m, vonk_error *err) {
  int64_t size = 0;
  VONK_TRY(take_number(m, 1, &size, err));
  return size > 8 ? fail(m, "a number in it is too large", err)
                  : push_number(m, (size_t)size, err);
}

static vonk_status take_float(machine *m, vonk_error *err) {
  return take(m, 8) == NULL ? fail_cut(m, err)
                            : push(m, &m->stack, (value){.kind = OTHER}, err);
}

/* Instructions that add a value. */
static vonk_status step_value(machine *m, uint8_t code, vonk_error *err) {
  switch (code) {
    case '(':
      return push(m, &m->stack, (value){.kind = MARKER}, err);
    case ']':
    case '}':
    case 'N':
    case 0x88:
    case 0x89:
      return push(m, &m->stack, (value){.kind = OTHER}, err);
    case 'c':
      return take_global(m, err);
    case 'G':
      return take_float(m, err);
    case 'X':
      return take_text(m, 4, err);
    case 'J':
      return push_number(m, 4, err);
    case 'K':
      return push_number(m, 1, err);
    case 'M':
      return push_number(m, 2, err);
    case 0x8a:
      return take_long(m, err);
    case 'h':
      return recall(m, 1, err);
    case 'j':
      return recall(m, 4, err);
    default:
      return fail(m, "its data have instructions that PyTorch does not use", err);
  }
}

/* Instructions that work on values that are there; the others add one. */
static vonk_status step(machine *m, uint8_t code, vonk_error *err) {
  uint32_t marker = 0, n = code - 0x84u; /* of TUPLE1 to TUPLE3 */
  switch (code) {
    case 0x80: /* PROTO */
      return take(m, 1) == NULL ? fail_cut(m, err) : VONK_OK;
    case ')':
      return make_tuple(m, m->stack.n, false, err);
    case 't':
      VONK_TRY(find_marker(m, &marker, err));
      return make_tuple(m, marker, true, err);
    case 0x85:
    case 0x86:
    case 0x87:
      return m->stack.n < n ? fail(m, "its data are damaged", err)
                            : make_tuple(m, m->stack.n - n, false, err);
    case 'q':
      return remember(m, 1, err);
    case 'r':
      return remember(m, 4, err);
    case 'a': /* APPEND */
    case 'b': /* BUILD: the state of the object below */
      return drop(m, 1, err);
    case 's': /* SETITEM */
      return drop(m, 2, err);
    case 'e':
    case 'u':
      return drop_to_marker(m, err);
    case 'Q':
      return take_storage(m, err);
    case 'R':
    case 0x81: /* NEWOBJ */
      return call(m, err);
    default:
      return step_value(m, code, err);
  }
}

vonk_status vonk_torch_pickle_check(const zip_archive *archive, kit_slice pickle,
                                    const char *folder, kit_arena *arena,
                                    const pickle_tensor **out, uint32_t *n_out,
                                    vonk_error *err) {
  machine m = {.archive = archive, .folder = folder, .arena = arena, .in = pickle};
  for (;;) {
    const uint8_t *code = take(&m, 1);
    if (code == NULL) {
      return fail_cut(&m, err);
    }
    if (*code == '.') {
      break;
    }
    VONK_TRY(step(&m, *code, err));
  }
  if (out != NULL) {
    *out = m.tensors;
    *n_out = m.n_tensors;
  }
  return VONK_OK;
}
