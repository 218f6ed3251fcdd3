/* Requests to stop runs.
 *
 * How it works: a source keeps the runs that are watched in a list under one lock; a run
 * that no plug-in watches takes no lock. Firing it marks it, then takes the stop function
 * of one run after the other and calls it outside the lock, since a framework's stop may
 * take locks of its own. While a stop is being called, its run names the calling thread
 * as its stopper; whoever ends that watch waits until there is none, unless it is that
 * very thread (a stop that ends its own watch). A stop function is taken out when it is
 * called, so it is called once. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdatomic.h>

#include "plugin/internal.h"

struct vonk_cancel_source {
  pthread_mutex_t lock;
  pthread_cond_t stopped; /* some stop has returned */
  _Atomic bool fired;     /* written under the lock */
  vonk_cancel *first;
};

/* An address that no other thread that is alive has. */
static const void *this_thread(void) {
  static _Thread_local char identity;
  return &identity;
}

vonk_status vonk_cancel_source_create(vonk_cancel_source **out, vonk_error *err) {
  vonk_cancel_source *source;
  VONK_TRY(vonk_new(1, sizeof(*source), &source, err));
  if (pthread_mutex_init(&source->lock, NULL) != 0) {
    vonk_delete(source);
    return vonk_fail_nomem(err, sizeof(pthread_mutex_t));
  }
  if (pthread_cond_init(&source->stopped, NULL) != 0) {
    pthread_mutex_destroy(&source->lock);
    vonk_delete(source);
    return vonk_fail_nomem(err, sizeof(pthread_cond_t));
  }
  atomic_init(&source->fired, false);
  *out = source;
  return VONK_OK;
}

void vonk_cancel_source_release(vonk_cancel_source *source) {
  if (source == NULL) {
    return;
  }
  pthread_cond_destroy(&source->stopped);
  pthread_mutex_destroy(&source->lock);
  vonk_delete(source);
}

bool vonk_cancel_source_fired(const vonk_cancel_source *source) {
  return atomic_load_explicit(&source->fired, memory_order_acquire);
}

/* Calls the stop of cancel, which has one. Called with the lock held, which is given up
 * for the call. */
static void call_stop(vonk_cancel *cancel) {
  vonk_cancel_source *source = cancel->source;
  void (*stop)(void *) = cancel->stop;
  void *arg = cancel->arg;
  cancel->stop = NULL;
  cancel->stopper = this_thread();
  pthread_mutex_unlock(&source->lock);
  stop(arg);
  pthread_mutex_lock(&source->lock);
  cancel->stopper = NULL;
  pthread_cond_broadcast(&source->stopped);
}

/* Called with the lock held. */
static void wait_for_stopper(const vonk_cancel *cancel) {
  while (cancel->stopper != NULL && cancel->stopper != this_thread()) {
    pthread_cond_wait(&cancel->source->stopped, &cancel->source->lock);
  }
}

static vonk_cancel *find_unstopped(const vonk_cancel_source *source) {
  for (vonk_cancel *cancel = source->first; cancel != NULL; cancel = cancel->next) {
    if (cancel->stop != NULL && cancel->stopper == NULL) {
      return cancel;
    }
  }
  return NULL;
}

void vonk_cancel_source_fire(vonk_cancel_source *source) {
  pthread_mutex_lock(&source->lock);
  atomic_store_explicit(&source->fired, true, memory_order_release);
  /* The list may change during a call, so each search starts anew. */
  vonk_cancel *cancel;
  while ((cancel = find_unstopped(source)) != NULL) {
    call_stop(cancel);
  }
  pthread_mutex_unlock(&source->lock);
}

void vonk_cancel_join(vonk_cancel *cancel, vonk_cancel_source *source) {
  *cancel = (vonk_cancel){.source = source};
}

/* Called with the lock held, as is unlist. */
static void list(vonk_cancel *cancel) {
  vonk_cancel_source *source = cancel->source;
  cancel->next = source->first;
  if (source->first != NULL) {
    source->first->previous = cancel;
  }
  source->first = cancel;
  cancel->is_listed = true;
}

static void unlist(vonk_cancel *cancel) {
  if (cancel->previous != NULL) {
    cancel->previous->next = cancel->next;
  } else {
    cancel->source->first = cancel->next;
  }
  if (cancel->next != NULL) {
    cancel->next->previous = cancel->previous;
  }
  cancel->next = cancel->previous = NULL;
  cancel->is_listed = false;
}

void vonk_cancel_leave(vonk_cancel *cancel) {
  if (cancel->is_listed) { /* still watched, or being stopped */
    vonk_cancel_watch(cancel, NULL, NULL);
  }
  *cancel = (vonk_cancel){0};
}

void vonk_cancel_watch(vonk_cancel *cancel, void (*stop)(void *arg), void *arg) {
  if (cancel == NULL || cancel->source == NULL) {
    return;
  }
  vonk_cancel_source *source = cancel->source;
  pthread_mutex_lock(&source->lock);
  cancel->stop = NULL;
  wait_for_stopper(cancel);
  cancel->stop = stop;
  cancel->arg = arg;
  /* Inside its own stop it stays listed, so that vonk_cancel_leave waits for that. */
  if (stop == NULL && cancel->is_listed && cancel->stopper == NULL) {
    unlist(cancel);
  } else if (stop != NULL && !cancel->is_listed) {
    list(cancel);
  }
  if (stop != NULL && vonk_cancel_source_fired(source)) {
    call_stop(cancel);
  }
  pthread_mutex_unlock(&source->lock);
}
