/* What the files of `vonk inspect` share: inspect.c prints for people, inspect_json.c for
 * scripts, inspect_bundle.c for both what a bundle says besides. */
#ifndef VONK_CLI_INSPECT_H
#define VONK_CLI_INSPECT_H

#include <stdbool.h>

#include "cli/json.h"
#include "vonk/vonk.h"

/* digest: the model's sha256, NULL if it was not asked for. */
vonk_status vonk_inspect_print_json(const vonk_model *, const char *digest,
                                    vonk_error *err);
void vonk_inspect_print_bundle(const vonk_bundle_summary *);
/* An object, null if the model is no bundle. */
yyjson_mut_val *vonk_inspect_bundle_json(const vonk_cli_json *,
                                         const vonk_model_summary *,
                                         const vonk_bundle_summary *);

/* selftest.c: runs the bundle's self-test and prints how it went. VONK_BACKEND: it failed;
 * VONK_UNSUPPORTED: there is none. */
vonk_status vonk_inspect_selftest(vonk_model *, bool is_json, vonk_error *err);

/* A format with several signatures tells them as metadata: `signature` is the one that was
 * opened, `signatures` are all of them, "a, b, c". */
bool vonk_inspect_has_signatures(const vonk_model_summary *);
/* The value of a key; NULL if there is none. */
const char *vonk_inspect_metadata(const vonk_model_summary *, const char *key);
/* The key at *rest, which is moved behind it; 0 at the end. */
size_t vonk_inspect_next_signature(const char **rest, const char **start);

#endif /* VONK_CLI_INSPECT_H */
