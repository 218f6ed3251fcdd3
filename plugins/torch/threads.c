/* How many threads PyTorch may use for us, without touching what it does for others.
 *
 * at::set_num_threads is of the whole process, which may have its own use of PyTorch. The
 * OpenMP under it counts per thread, though, and so does MKL: both are set for the
 * calling thread and put back when the call is over. PyTorch sets a thread up at its
 * first use of it, so that is made to happen before.
 */
#include "torch_plugin.h"

void vonk_torch_enter(torch_scope *scope, const torch_runtime *runtime,
                      uint32_t threads) {
  const torch_thread_api *api = &runtime->threads;
  vonk_kit_float_mode_get(&scope->mode);
  scope->runtime = runtime;
  if (api->torch_get_num_threads != NULL) {
    uint32_t ignored;
    api->torch_get_num_threads(&ignored);
  }
  if (api->mkl_set_num_threads_local != NULL) {
    scope->mkl_threads = api->mkl_set_num_threads_local((int)threads);
  }
  if (api->omp_set_num_threads != NULL && api->omp_get_max_threads != NULL) {
    scope->omp_threads = api->omp_get_max_threads();
    api->omp_set_num_threads((int)threads);
  }
  scope->has_gradients = runtime->api.grad_mode_is_enabled();
  runtime->api.grad_mode_set_enabled(false);
}

void vonk_torch_leave(torch_scope *scope) {
  const torch_thread_api *api = &scope->runtime->threads;
  scope->runtime->api.grad_mode_set_enabled(scope->has_gradients);
  if (api->omp_set_num_threads != NULL && api->omp_get_max_threads != NULL) {
    api->omp_set_num_threads(scope->omp_threads);
  }
  if (api->mkl_set_num_threads_local != NULL) {
    api->mkl_set_num_threads_local(scope->mkl_threads);
  }
  vonk_kit_float_mode_set(&scope->mode);
}
