/* Version 1 of the plug-in interface is frozen: every field stays where it is. A plug-in
 * that was compiled years ago relies on it. New fields go to the end of a struct that
 * grows, with their own lines here; `make check` compares the whole interface with
 * abi/plugin_v1.abi besides. */
#include <stddef.h>

#include "vonk/plugin.h"

_Static_assert(sizeof(void *) == 8 && sizeof(size_t) == 8, "vonk is for 64-bit systems");

#define AT(type, field, offset) \
  _Static_assert(offsetof(type, field) == (offset), #type "." #field " has moved")
#define SIZE(type, size) \
  _Static_assert(sizeof(type) == (size), #type " has changed its size")

AT(vonk_error, struct_size, 0);
AT(vonk_error, code, 4);
AT(vonk_error, native_code, 8);
AT(vonk_error, row, 16);
AT(vonk_error, message, 24);
SIZE(vonk_error, 1048);

AT(vonk_kv, key, 0);
AT(vonk_kv, value, 8);
SIZE(vonk_kv, 16);

AT(vonk_device, kind, 0);
AT(vonk_device, index, 4);
SIZE(vonk_device, 8);

AT(vonk_tensor, struct_size, 0);
AT(vonk_tensor, flags, 4);
AT(vonk_tensor, dtype, 8);
AT(vonk_tensor, rank, 12);
AT(vonk_tensor, shape, 16);
AT(vonk_tensor, data, 24);
AT(vonk_tensor, offsets, 32);
AT(vonk_tensor, nbytes, 40);
AT(vonk_tensor, device, 48);
AT(vonk_tensor, release, 56);
AT(vonk_tensor, private_data, 64);
SIZE(vonk_tensor, 72);

AT(vonk_io, struct_size, 0);
AT(vonk_io, dtype, 4);
AT(vonk_io, name, 8);
AT(vonk_io, rank, 16);
AT(vonk_io, reserved, 20);
AT(vonk_io, shape, 24);
AT(vonk_io, dim_names, 32);
SIZE(vonk_io, 40);

AT(vonk_model_info, struct_size, 0);
AT(vonk_model_info, n_inputs, 4);
AT(vonk_model_info, n_outputs, 8);
AT(vonk_model_info, n_metadata, 12);
AT(vonk_model_info, n_params, 16);
AT(vonk_model_info, weight_bytes, 24);
AT(vonk_model_info, format, 32);
AT(vonk_model_info, producer, 40);
AT(vonk_model_info, metadata, 48);
SIZE(vonk_model_info, 56);

AT(vonk_host, struct_size, 0);
AT(vonk_host, abi_minor, 4);
AT(vonk_host, ctx, 8);
AT(vonk_host, alloc, 16);
AT(vonk_host, free, 24);
AT(vonk_host, log, 32);
AT(vonk_host, config, 40);
AT(vonk_host, watch_cancel, 48);
SIZE(vonk_host, 56);

AT(vonk_run, struct_size, 0);
AT(vonk_run, n_inputs, 4);
AT(vonk_run, n_outputs, 8);
AT(vonk_run, threads, 12);
AT(vonk_run, inputs, 16);
AT(vonk_run, outputs, 24);
AT(vonk_run, cancel, 32);
AT(vonk_run, host, 40);
SIZE(vonk_run, 48);

AT(vonk_plugin_v1, struct_size, 0);
AT(vonk_plugin_v1, abi_minor, 4);
AT(vonk_plugin_v1, caps, 8);
AT(vonk_plugin_v1, reserved, 12);
AT(vonk_plugin_v1, name, 16);
AT(vonk_plugin_v1, version, 24);
AT(vonk_plugin_v1, formats, 32);
AT(vonk_plugin_v1, options, 40);
AT(vonk_plugin_v1, recognise, 48);
AT(vonk_plugin_v1, runtime, 56);
AT(vonk_plugin_v1, devices, 64);
AT(vonk_plugin_v1, open_model, 72);
AT(vonk_plugin_v1, model_info, 80);
AT(vonk_plugin_v1, describe, 88);
AT(vonk_plugin_v1, create_session, 96);
AT(vonk_plugin_v1, run, 104);
AT(vonk_plugin_v1, release_session, 112);
AT(vonk_plugin_v1, release_model, 120);
AT(vonk_plugin_v1, shutdown, 128);
AT(vonk_plugin_v1, open_files, 136); /* minor 1 */
SIZE(vonk_plugin_v1, 144);

AT(vonk_file, name, 0);
AT(vonk_file, data, 8);
AT(vonk_file, nbytes, 16);
SIZE(vonk_file, 24);

AT(vonk_files, struct_size, 0);
AT(vonk_files, n_files, 4);
AT(vonk_files, path, 8);
AT(vonk_files, main, 16);
AT(vonk_files, files, 24);
SIZE(vonk_files, 32);
