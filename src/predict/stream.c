/* Predictions of a stream, batch by batch: each get_next takes one batch from the source,
 * predicts, and gives the result. */
#include <errno.h>
#include <string.h>

#include "predict/plan.h"

typedef struct prediction_stream {
  vonk_predictor *predictor;
  struct ArrowArrayStream in;
  vonk_error error;
} prediction_stream;

static int errno_of(vonk_status status) {
  switch (status) {
    case VONK_OK:
      return 0;
    case VONK_NOMEM:
      return ENOMEM;
    case VONK_INVALID:
      return EINVAL;
    case VONK_CANCELLED:
      return ECANCELED;
    case VONK_UNSUPPORTED:
      return ENOTSUP;
    default:
      return EIO;
  }
}

static int get_schema(struct ArrowArrayStream *self, struct ArrowSchema *out) {
  prediction_stream *s = self->private_data;
  s->error = (vonk_error)VONK_ERROR_INIT;
  return errno_of(vonk_predictor_schema(s->predictor, out, &s->error));
}

static int source_failed(prediction_stream *s, int code) {
  const char *why = s->in.get_last_error == NULL ? NULL : s->in.get_last_error(&s->in);
  vonk_fail(&s->error, VONK_IO, "input stream: %s", why == NULL ? strerror(code) : why);
  return code;
}

static int get_next(struct ArrowArrayStream *self, struct ArrowArray *out) {
  prediction_stream *s = self->private_data;
  struct ArrowArray rows = {0};
  s->error = (vonk_error)VONK_ERROR_INIT;
  int code = s->in.get_next(&s->in, &rows);
  if (code != 0) {
    return source_failed(s, code);
  }
  if (rows.release == NULL) { /* the end */
    memset(out, 0, sizeof *out);
    return 0;
  }
  vonk_status status = vonk_predict(s->predictor, &rows, out, &s->error);
  rows.release(&rows);
  return errno_of(status);
}

static const char *get_last_error(struct ArrowArrayStream *self) {
  prediction_stream *s = self->private_data;
  return s->error.code == VONK_OK ? NULL : s->error.message;
}

static void release(struct ArrowArrayStream *self) {
  prediction_stream *s = self->private_data;
  if (s->in.release != NULL) {
    s->in.release(&s->in);
  }
  vonk_predictor_release(s->predictor);
  vonk_delete(s);
  self->release = NULL;
}

static bool same_type(const vonk_type *a, const vonk_type *b) {
  if (a->kind != b->kind || a->dtype != b->dtype || a->wide_offsets != b->wide_offsets ||
      a->fixed_length != b->fixed_length || a->n_children != b->n_children) {
    return false;
  }
  for (int64_t i = 0; i < a->n_children; i++) {
    bool is_struct = a->kind == VONK_TYPE_STRUCT;
    if (!same_type(&a->children[i], &b->children[i]) ||
        (is_struct && strcmp(a->children[i].name, b->children[i].name) != 0)) {
      return false;
    }
  }
  return true;
}

/* The columns that the predictor reads must be the ones it was bound to. */
static vonk_status check_columns(const vonk_predictor *p,
                                 const struct ArrowSchema *schema, vonk_error *err) {
  if (schema->n_children != (int64_t)p->n_columns) {
    return vonk_fail(
        err, VONK_INVALID,
        "input stream: has %lld columns where the predictor was bound to %zu",
        (long long)schema->n_children, p->n_columns);
  }
  for (size_t k = 0; k < p->n_used_columns; k++) {
    int64_t i = p->used_columns[k];
    const vonk_type *bound = &p->columns[i].type;
    vonk_type found = {0};
    VONK_TRY(vonk_type_parse(schema->children[i], &found, err));
    bool fits = same_type(bound, &found) && strcmp(bound->name, found.name) == 0;
    vonk_text want = {.size = 0}, have = {.size = 0};
    vonk_type_describe(bound, &want);
    vonk_type_describe(&found, &have);
    vonk_status status = VONK_OK;
    if (!fits) {
      status = vonk_fail(err, VONK_INVALID,
                         "input stream: column %lld is '%s' of %s where the predictor "
                         "was bound to '%s' of %s",
                         (long long)i, found.name, have.data, bound->name, want.data);
    }
    vonk_type_clear(&found);
    VONK_TRY(status);
  }
  return VONK_OK;
}

static vonk_status check_source(const vonk_predictor *p, struct ArrowArrayStream *in,
                                vonk_error *err) {
  struct ArrowSchema schema = {0};
  if (in->release == NULL) {
    return vonk_fail(err, VONK_INVALID, "input stream: was released already");
  }
  int code = in->get_schema(in, &schema);
  if (code != 0) {
    const char *why = in->get_last_error(in);
    return vonk_fail(err, VONK_IO, "input stream: %s",
                     why == NULL ? strerror(code) : why);
  }
  vonk_status status = check_columns(p, &schema, err);
  schema.release(&schema);
  return status;
}

vonk_status vonk_predict_stream(const vonk_predictor *p, struct ArrowArrayStream *in,
                                struct ArrowArrayStream *out, vonk_error *err) {
  prediction_stream *s = NULL;
  VONK_TRY(check_source(p, in, err));
  VONK_TRY(vonk_new(1, sizeof *s, &s, err));
  s->predictor = vonk_predictor_retain(p);
  s->in = *in;
  in->release = NULL;
  *out = (struct ArrowArrayStream){.get_schema = get_schema,
                                   .get_next = get_next,
                                   .get_last_error = get_last_error,
                                   .release = release,
                                   .private_data = s};
  return VONK_OK;
}
