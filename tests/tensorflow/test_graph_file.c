/* The reader of TensorFlow's files, on messages written here by hand. */
/* clang-format off: cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* clang-format on */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit/host.h"
#include "tensorflow/opening.h"

/* --- writing protobuf ---------------------------------------------------------------- */

/* Bytes that grow; one per message, and a message is put into another when it is done. */
typedef struct buffer {
  uint8_t bytes[4096];
  size_t n;
} buffer;

static void put_number(buffer *b, uint64_t value) {
  for (; value >= 0x80; value >>= 7) {
    b->bytes[b->n++] = (uint8_t)(value | 0x80);
  }
  b->bytes[b->n++] = (uint8_t)value;
}

static void put_bytes(buffer *b, uint32_t number, const void *bytes, size_t n) {
  assert_true(b->n + n + 20 < sizeof b->bytes);
  put_number(b, (uint64_t)number << 3 | KIT_WIRE_BYTES);
  put_number(b, n);
  memcpy(b->bytes + b->n, bytes, n);
  b->n += n;
}

static void put_text(buffer *b, uint32_t number, const char *text) {
  put_bytes(b, number, text, strlen(text));
}

static void put_message(buffer *b, uint32_t number, const buffer *inner) {
  put_bytes(b, number, inner->bytes, inner->n);
}

static void put_varint(buffer *b, uint32_t number, uint64_t value) {
  put_number(b, (uint64_t)number << 3 | KIT_WIRE_VARINT);
  put_number(b, value);
}

/* NodeDef */
static buffer make_node(const char *name, const char *op, const char *const *inputs) {
  buffer node = {0};
  put_text(&node, 1, name);
  put_text(&node, 2, op);
  for (; *inputs != NULL; ++inputs) {
    put_text(&node, 3, *inputs);
  }
  return node;
}

static void add_node(buffer *graph, uint32_t number, const char *name, const char *op,
                     const char *const *inputs) {
  const buffer node = make_node(name, op, inputs);
  put_message(graph, number, &node);
}

/* A node that calls `function`. */
static void add_call(buffer *graph, uint32_t number, const char *name, const char *op,
                     const char *attribute, const char *function,
                     const char *const *inputs) {
  buffer node = make_node(name, op, inputs), named = {0}, value = {0}, entry = {0};
  put_text(&named, 1, function);
  put_message(&value, 10, &named);
  put_text(&entry, 1, attribute);
  put_message(&entry, 2, &value);
  put_message(&node, 5, &entry);
  put_message(graph, number, &node);
}

/* A library with one function of one argument, "path". */
static buffer make_function(const char *name, const buffer *nodes) {
  buffer function = {0}, signature = {0}, argument = {0};
  put_text(&signature, 1, name);
  put_text(&argument, 1, "path");
  put_message(&signature, 2, &argument);
  put_message(&function, 1, &signature);
  memcpy(function.bytes + function.n, nodes->bytes, nodes->n);
  function.n += nodes->n;
  return function;
}

#define INPUTS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NO_INPUTS ((const char *const[]){NULL})

/* --- reading ------------------------------------------------------------------------- */

static int set_host(void **state) {
  (void)state;
  vonk_kit_set_host(&plain_host);
  return 0;
}

static kit_slice slice_of(const char *text) {
  return (kit_slice){(const uint8_t *)text, strlen(text)};
}

/* What a test reads with. */
typedef struct reader {
  kit_arena arena;
  vonk_plugin_model model;
  tf_opening opening;
  vonk_error err;
} reader;

static void start(reader *r) {
  *r = (reader){.err = {.struct_size = (uint32_t)sizeof r->err}};
  r->opening.model = &r->model;
  r->opening.place = (tf_place){"m", &r->arena};
}

static vonk_status read_graph(reader *r, const buffer *graph) {
  return vonk_tf_graph_read(&r->opening.place, (kit_slice){graph->bytes, graph->n},
                            &r->opening.graph, &r->err);
}

static vonk_status reach(reader *r, const char *root, int purpose, tf_reach *out) {
  const kit_slice roots[] = {slice_of(root)};
  return vonk_tf_reach(&r->opening, roots, 1, purpose, out, &r->err);
}

static void stop(reader *r) {
  vonk_kit_arena_release(&r->arena);
  vonk_kit_arena_release(&r->model.arena);
}

static void test_nodes_are_found_by_name(void **state) {
  (void)state;
  buffer graph = {0};
  add_node(&graph, 1, "x", "Placeholder", NO_INPUTS);
  add_node(&graph, 1, "y", "Relu", INPUTS("x:1", "^z"));
  reader r;
  start(&r);
  assert_int_equal(read_graph(&r, &graph), VONK_OK);
  const tf_node *y = vonk_tf_node_find(&r.opening.graph.nodes, slice_of("y"));
  assert_non_null(y);
  assert_true(vonk_kit_slice_equals(y->op, "Relu"));
  assert_null(vonk_tf_node_find(&r.opening.graph.nodes, slice_of("z")));
  kit_slice rest = y->body, input;
  assert_true(vonk_tf_node_input(&rest, &input));
  assert_true(vonk_kit_slice_equals(vonk_tf_input_node(input), "x"));
  assert_true(vonk_tf_node_input(&rest, &input));
  assert_true(vonk_kit_slice_equals(vonk_tf_input_node(input), "z"));
  assert_false(vonk_tf_node_input(&rest, &input));
  stop(&r);
}

static void test_a_graph_that_is_cut_off_is_an_error_at_every_length(void **state) {
  (void)state;
  buffer graph = {0};
  add_node(&graph, 1, "x", "Placeholder", NO_INPUTS);
  size_t n_first = graph.n;
  add_node(&graph, 1, "y", "Relu", INPUTS("x"));
  for (size_t n = 1; n < graph.n; ++n) {
    uint8_t *copy = malloc(n); /* so that a sanitizer sees a read beyond it */
    memcpy(copy, graph.bytes, n);
    reader r;
    start(&r);
    vonk_status status = vonk_tf_graph_read(&r.opening.place, (kit_slice){copy, n},
                                            &r.opening.graph, &r.err);
    assert_int_equal(status, n == n_first ? VONK_OK : VONK_MODEL);
    stop(&r);
    free(copy);
  }
}

static void test_names_are_in_the_order_of_their_numbers(void **state) {
  (void)state;
  static const char *const given[] = {"output_10", "b",   "output_2", "output_1",
                                      "a_02",      "a_2", "",         "output"};
  static const char *const expected[] = {"",       "a_02",     "a_2",      "b",
                                         "output", "output_1", "output_2", "output_10"};
  buffer signature = {0};
  for (size_t i = 0; i < 8; ++i) {
    buffer entry = {0}, info = {0};
    put_text(&info, 1, "node:0");
    put_varint(&info, 2, 1);
    put_text(&entry, 1, given[i]);
    put_message(&entry, 2, &info);
    put_message(&signature, 2, &entry);
  }
  reader r;
  start(&r);
  const tf_entry entry = {slice_of("s"), {signature.bytes, signature.n}};
  tf_info *infos = NULL;
  uint32_t n = 0;
  assert_int_equal(
      vonk_tf_signature_read(&r.opening.place, &entry, 2, &infos, &n, &r.err), VONK_OK);
  assert_int_equal(n, 8);
  for (size_t i = 0; i < 8; ++i) {
    char found[32];
    snprintf(found, sizeof found, "%.*s", (int)infos[i].key.size,
             infos[i].key.size == 0 ? "" : (const char *)infos[i].key.data);
    assert_string_equal(found, expected[i]);
  }
  stop(&r);
}

static void test_only_what_the_outputs_need_is_checked(void **state) {
  (void)state;
  buffer graph = {0};
  add_node(&graph, 1, "x", "Placeholder", NO_INPUTS);
  add_node(&graph, 1, "y", "Relu", INPUTS("x"));
  add_node(&graph, 1, "bad", "PyFunc", INPUTS("y"));
  add_node(&graph, 1, "z", "Identity", INPUTS("y", "^bad"));
  reader r;
  tf_reach found;
  start(&r);
  assert_int_equal(read_graph(&r, &graph), VONK_OK);
  assert_int_equal(reach(&r, "y", VONK_TF_FOR_RUN, &found), VONK_OK);
  assert_int_equal(reach(&r, "z", VONK_TF_FOR_RUN, &found), VONK_UNSUPPORTED);
  assert_non_null(strstr(r.err.message, "node 'bad': its operation PyFunc runs Python"));
  stop(&r);
}

static void test_an_operation_hidden_in_a_function_is_found(void **state) {
  (void)state;
  static const char *const attributes[] = {"f", "then_branch", "anything"};
  for (size_t i = 0; i < 3; ++i) {
    buffer graph = {0}, library = {0}, nodes = {0};
    add_node(&nodes, 3, "w", "WriteFile", INPUTS("path"));
    const buffer function = make_function("hidden", &nodes);
    put_message(&library, 1, &function);
    put_message(&graph, 2, &library);
    add_call(&graph, 1, "y", i == 0 ? "PartitionedCall" : "If", attributes[i], "hidden",
             NO_INPUTS);
    reader r;
    tf_reach found;
    start(&r);
    assert_int_equal(read_graph(&r, &graph), VONK_OK);
    assert_int_equal(reach(&r, "y", VONK_TF_FOR_RUN, &found), VONK_UNSUPPORTED);
    assert_non_null(strstr(r.err.message, "WriteFile writes files"));
    stop(&r);
  }
}

/* Reads a graph in which a function fills a table from the file that "call" passes. */
static vonk_status check_origin(const char *const *passed, const char *op,
                                const char *attribute, reader *r) {
  buffer graph = {0}, library = {0}, nodes = {0};
  add_node(&nodes, 3, "same", "Identity", INPUTS("path"));
  add_node(&nodes, 3, "fill", "InitializeTableFromTextFileV2",
           INPUTS("table", "same:output:0"));
  const buffer function = make_function("initializer", &nodes);
  put_message(&library, 1, &function);
  put_message(&graph, 2, &library);
  add_node(&graph, 1, "asset", "Const", NO_INPUTS);
  add_node(&graph, 1, "other", "Const", NO_INPUTS);
  add_call(&graph, 1, "call", op, attribute, "initializer", passed);
  assert_int_equal(read_graph(r, &graph), VONK_OK);
  static tf_asset asset = {.port = {.node = "asset"}, .path = "/m/assets/a"};
  r->model.assets = &asset;
  r->model.n_assets = 1;
  tf_reach found;
  assert_int_equal(reach(r, "call", VONK_TF_FOR_INIT, &found), VONK_OK);
  assert_int_equal(found.n_file_readers, 1);
  return vonk_tf_origins_check(&r->opening, &found, VONK_TF_FOR_INIT, &r->err);
}

static void test_files_are_read_only_if_they_are_assets(void **state) {
  (void)state;
  reader r;
  start(&r);
  assert_int_equal(check_origin(INPUTS("asset"), "StatefulPartitionedCall", "f", &r),
                   VONK_OK);
  stop(&r);
  start(&r);
  assert_int_equal(check_origin(INPUTS("other"), "StatefulPartitionedCall", "f", &r),
                   VONK_MODEL);
  assert_non_null(strstr(r.err.message, "node 'fill': reads a file that is not said"));
  stop(&r);
  /* a condition passes its second input as the first argument */
  start(&r);
  assert_int_equal(check_origin(INPUTS("asset", "other"), "If", "then_branch", &r),
                   VONK_UNSUPPORTED);
  stop(&r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nodes_are_found_by_name),
      cmocka_unit_test(test_a_graph_that_is_cut_off_is_an_error_at_every_length),
      cmocka_unit_test(test_names_are_in_the_order_of_their_numbers),
      cmocka_unit_test(test_only_what_the_outputs_need_is_checked),
      cmocka_unit_test(test_an_operation_hidden_in_a_function_is_found),
      cmocka_unit_test(test_files_are_read_only_if_they_are_assets),
  };
  return cmocka_run_group_tests(tests, set_host, NULL);
}
