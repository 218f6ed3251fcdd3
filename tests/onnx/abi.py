"""Drives a vonk plug-in from Python over its C interface, with a host of our own.

For tests of a plug-in alone: nothing of the vonk library is in between. Tensors are numpy arrays; strings are arrays of
dtype object holding bytes; f16 is float16, bf16 uint16 (its bits) with `bf16=True` in the model's own signature.
"""

from __future__ import annotations

import ctypes as c
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

OK, INVALID, NOMEM, IO, UNSUPPORTED, ABI, MODEL, BACKEND, CANCELLED, DEVICE, FORKED = range(11)
CPU, CUDA, ROCM = 1, 2, 10
BYTES, BF16, BOOL8 = 14, 2, 13
#: numpy dtype of each vonk_dtype but VONK_BYTES
DTYPES = {1: "f2", 2: "u2", 3: "f4", 4: "f8", 5: "i1", 6: "i2", 7: "i4", 8: "i8",
          9: "u1", 10: "u2", 11: "u4", 12: "u8", 13: "?"}  # fmt: skip


class Error(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("code", c.c_int32), ("native_code", c.c_int64),
                ("row", c.c_int64), ("message", c.c_char * 1024)]  # fmt: skip


class Pair(c.Structure):
    _fields_ = [("key", c.c_char_p), ("value", c.c_char_p)]


class Device(c.Structure):
    _fields_ = [("kind", c.c_int32), ("index", c.c_int32)]


class Tensor(c.Structure):
    pass


RELEASE = c.CFUNCTYPE(None, c.POINTER(Tensor))
Tensor._fields_ = [
    ("struct_size", c.c_uint32), ("flags", c.c_uint32), ("dtype", c.c_int32), ("rank", c.c_int32),
    ("shape", c.POINTER(c.c_int64)), ("data", c.c_void_p), ("offsets", c.POINTER(c.c_int32)),
    ("nbytes", c.c_uint64), ("device", Device), ("release", RELEASE), ("private_data", c.c_void_p),
]  # fmt: skip


class Io(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("dtype", c.c_int32), ("name", c.c_char_p),
                ("rank", c.c_int32), ("reserved", c.c_int32), ("shape", c.POINTER(c.c_int64)),
                ("dim_names", c.POINTER(c.c_char_p))]  # fmt: skip


class Info(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("n_inputs", c.c_uint32), ("n_outputs", c.c_uint32),
                ("n_metadata", c.c_uint32), ("n_params", c.c_int64), ("weight_bytes", c.c_int64),
                ("format", c.c_char_p), ("producer", c.c_char_p), ("metadata", c.POINTER(Pair))]  # fmt: skip


class File(c.Structure):
    _fields_ = [("name", c.c_char_p), ("data", c.c_void_p), ("nbytes", c.c_uint64)]


class Files(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("n_files", c.c_uint32), ("path", c.c_char_p),
                ("main", c.c_char_p), ("files", c.POINTER(File))]  # fmt: skip


STOP = c.CFUNCTYPE(None, c.c_void_p)
ALLOC = c.CFUNCTYPE(c.c_void_p, c.c_void_p, c.c_size_t, c.c_size_t)
FREE = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p)
LOG = c.CFUNCTYPE(None, c.c_void_p, c.c_int32, c.c_char_p, c.c_char_p)
CONFIG = c.CFUNCTYPE(c.c_void_p, c.c_void_p, c.c_char_p)
WATCH = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p, c.c_void_p, c.c_void_p)


class Host(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("abi_minor", c.c_uint32), ("ctx", c.c_void_p),
                ("alloc", ALLOC), ("free", FREE), ("log", LOG), ("config", CONFIG),
                ("watch_cancel", WATCH)]  # fmt: skip


class Run(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("n_inputs", c.c_uint32), ("n_outputs", c.c_uint32),
                ("threads", c.c_uint32), ("inputs", c.POINTER(c.POINTER(Tensor))),
                ("outputs", c.POINTER(c.POINTER(Tensor))), ("cancel", c.c_void_p)]  # fmt: skip


ERROR = c.POINTER(Error)
RECOGNISE = c.CFUNCTYPE(c.c_int32, c.c_char_p, c.c_char_p, c.c_size_t)
RUNTIME = c.CFUNCTYPE(c.c_int32, c.POINTER(c.c_char_p), c.POINTER(c.c_char_p), ERROR)
DEVICES = c.CFUNCTYPE(c.c_int32, c.POINTER(Device), c.c_uint32, c.POINTER(c.c_uint32), ERROR)
OPEN = c.CFUNCTYPE(c.c_int32, c.c_char_p, c.POINTER(Pair), c.c_size_t, c.POINTER(c.c_void_p), ERROR)
OPEN_FILES = c.CFUNCTYPE(
    c.c_int32, c.POINTER(Files), c.POINTER(Pair), c.c_size_t, c.POINTER(c.c_void_p), ERROR
)  # fmt: skip
INFO = c.CFUNCTYPE(c.c_int32, c.c_void_p, c.POINTER(Info), ERROR)
DESCRIBE = c.CFUNCTYPE(c.c_int32, c.c_void_p, c.c_int32, c.c_uint32, c.POINTER(Io), ERROR)
SESSION = c.CFUNCTYPE(c.c_int32, c.c_void_p, Device, c.c_uint32, c.POINTER(c.c_void_p), ERROR)
RUN = c.CFUNCTYPE(c.c_int32, c.c_void_p, c.POINTER(Run), ERROR)
DROP = c.CFUNCTYPE(None, c.c_void_p)


class Table(c.Structure):
    _fields_ = [("struct_size", c.c_uint32), ("abi_minor", c.c_uint32), ("caps", c.c_uint32),
                ("reserved", c.c_uint32), ("name", c.c_char_p), ("version", c.c_char_p),
                ("formats", c.POINTER(c.c_char_p)), ("options", c.POINTER(Pair)),
                ("recognise", RECOGNISE), ("runtime", RUNTIME), ("devices", DEVICES),
                ("open_model", OPEN), ("model_info", INFO), ("describe", DESCRIBE),
                ("create_session", SESSION), ("run", RUN), ("release_session", DROP),
                ("release_model", DROP), ("shutdown", c.c_void_p), ("open_files", OPEN_FILES)]  # fmt: skip


class PluginError(Exception):
    """A call's vonk_error."""

    def __init__(self, status: int, error: Error) -> None:
        super().__init__(error.message.decode("utf-8").replace(NOWHERE + "/", "/"))
        self.status = status
        self.code = int(error.code)
        self.native_code = int(error.native_code)


def check(status: int, error: Error) -> None:
    if status != OK:
        raise PluginError(status, error)


#: a folder that does not exist, below which a model in memory is said to lie
NOWHERE = "/nowhere"


class Cancel:
    """What watch_cancel gets: asking stops the run that watches."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.stop: Any = None
        self.arg: int | None = None
        self.asked = False

    def ask(self) -> None:
        with self.lock:
            self.asked = True
            if self.stop is not None:
                self.stop(self.arg)


class Plugin:
    """A loaded plug-in and the host that it was given."""

    def __init__(self, path: Path | str, config: dict[str, str]) -> None:
        self.logged: list[tuple[int, str]] = []
        self.fail_at = 0  # the n-th allocation from now on fails; 0: none
        self.n_held = 0  # blocks that are not freed yet
        self.cancels: dict[int, Cancel] = {}
        self.libc = c.CDLL(None)
        self.libc.malloc.restype = c.c_void_p
        self.libc.malloc.argtypes = [c.c_size_t]
        self.libc.free.argtypes = [c.c_void_p]
        self.config = {key: c.create_string_buffer(value.encode()) for key, value in config.items()}
        self.host = Host(
            struct_size=c.sizeof(Host),
            alloc=ALLOC(self._alloc),
            free=FREE(self._free),
            log=LOG(lambda ctx, level, where, text: self.logged.append((level, text.decode()))),
            config=CONFIG(self._config),
            watch_cancel=WATCH(self._watch),
        )
        self.library = c.CDLL(str(path))
        entry = self.library.vonk_plugin_init_v1
        entry.argtypes = [c.POINTER(Host), c.POINTER(Table), ERROR]
        self.table = Table(struct_size=c.sizeof(Table))
        error = Error(struct_size=c.sizeof(Error))
        check(entry(c.byref(self.host), c.byref(self.table), c.byref(error)), error)

    def _alloc(self, ctx: Any, size: int, align: int) -> int | None:
        self.fail_at -= 1
        if self.fail_at == 0:
            return None
        self.n_held += 1
        return int(self.libc.malloc(size or 1))

    def _free(self, ctx: Any, pointer: int | None) -> None:
        self.n_held -= bool(pointer)
        self.libc.free(pointer)

    def _config(self, ctx: Any, key: bytes) -> int | None:
        found = self.config.get(key.decode())
        return None if found is None else c.addressof(found)

    def _watch(self, ctx: Any, cancel: int, stop: int | None, arg: int) -> None:
        request = self.cancels[cancel]
        with request.lock:
            request.stop = None if not stop else STOP(stop)
            request.arg = arg
            if request.stop is not None and request.asked:
                request.stop(arg)

    def runtime(self) -> tuple[str, str]:
        version, path, error = c.c_char_p(), c.c_char_p(), Error(struct_size=c.sizeof(Error))
        check(self.table.runtime(c.byref(version), c.byref(path), c.byref(error)), error)
        assert version.value is not None and path.value is not None
        return version.value.decode(), path.value.decode()

    def devices(self) -> list[tuple[int, int]]:
        found, n, error = (Device * 8)(), c.c_uint32(), Error(struct_size=c.sizeof(Error))
        check(self.table.devices(found, 8, c.byref(n), c.byref(error)), error)
        return [(found[i].kind, found[i].index) for i in range(n.value)]

    def recognise(self, path: Path) -> int:
        head = path.open("rb").read(4096) if path.is_file() else None
        return int(self.table.recognise(str(path).encode(), head, len(head or b"")))

    def open(self, path: Path | str, **options: str) -> Model:
        return Model(self, path, options)

    def in_memory(self) -> MemoryPlugin:
        """The same plug-in and host (a plug-in keeps the first one), given files in memory."""
        other = MemoryPlugin.__new__(MemoryPlugin)
        other.__dict__ = self.__dict__
        return other


class MemoryPlugin(Plugin):
    """The same, but what is opened by a path is read by us, and given as files in memory.

    They are said to lie where nothing is; in messages that is put right.
    """

    def open(self, path: Path | str, **options: str) -> Model:
        path = Path(path)
        return self.open_files(path, None if path.is_dir() else path.name, read_folder(path), **options)

    def open_files(
        self, path: Path, main: str | None, files: dict[str, bytes], shift: int = 1, **options: str
    ) -> Model:
        """Opens files by name, of which `main` is the model's own; None: their folder is the model."""
        return Model(self, path, options, Memory(path, main, files, shift))


def read_folder(path: Path) -> dict[str, bytes]:
    """All regular files of a model's folder by name; neither links nor what lies in "outside" are part of it."""
    folder = path if path.is_dir() else path.parent
    files = [Path(where) / name for where, _, names in os.walk(folder) for name in names]
    files = [file for file in files if file.is_file() and not file.is_symlink() and "outside" not in file.parts]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


class Memory:
    """vonk_files, whose table is gone after the call; the bytes stay, `shift` bytes behind a multiple of 64."""

    def __init__(self, path: Path, main: str | None, files: dict[str, bytes], shift: int = 1) -> None:
        names = sorted(files, key=os.fsencode)
        self.bytes = [c.create_string_buffer(len(files[name]) + 128) for name in names]
        rows = (File * max(len(names), 1))()
        for row, name, room in zip(rows, names, self.bytes, strict=False):
            row.name, row.nbytes = os.fsencode(name), len(files[name])
            start = (c.addressof(room) + 63) // 64 * 64 + shift
            row.data = start if files[name] else None
            c.memmove(start, files[name], len(files[name]))
        self.files = Files(struct_size=c.sizeof(Files), n_files=len(names), files=rows,
                           path=os.fsencode(NOWHERE + str(path)),
                           main=None if main is None else os.fsencode(main))  # fmt: skip


@dataclass
class Description:
    name: str
    dtype: int
    shape: list[int] | None
    dim_names: list[str | None] = field(default_factory=list)


class Model:
    def __init__(self, plugin: Plugin, path: Path | str, options: dict[str, str], memory: Memory | None = None) -> None:
        self.plugin, self.table = plugin, plugin.table
        self.memory = memory
        self.handle = c.c_void_p()
        error = Error(struct_size=c.sizeof(Error))
        pairs = (Pair * len(options))(*[Pair(k.encode(), v.encode()) for k, v in options.items()])
        name = str(path).encode("utf-8", "surrogateescape")
        out = c.byref(self.handle)
        if memory is None:
            check(self.table.open_model(name, pairs, len(options), out, c.byref(error)), error)
        else:
            files, memory.files = memory.files, Files()
            check(self.table.open_files(c.byref(files), pairs, len(options), out, c.byref(error)), error)
            c.memset(files.files, 0, c.sizeof(File) * files.n_files)  # borrowed for the call
            c.memset(c.byref(files), 0, c.sizeof(files))
        self.info = Info(struct_size=c.sizeof(Info))
        check(self.table.model_info(self.handle, c.byref(self.info), c.byref(error)), error)
        self.inputs = [self._describe(0, i) for i in range(self.info.n_inputs)]
        self.outputs = [self._describe(1, i) for i in range(self.info.n_outputs)]

    @property
    def metadata(self) -> dict[str, str]:
        rows = [self.info.metadata[i] for i in range(self.info.n_metadata)]
        return {row.key.decode(): row.value.decode() for row in rows}

    def _describe(self, is_output: int, index: int) -> Description:
        io, error = Io(struct_size=c.sizeof(Io)), Error(struct_size=c.sizeof(Error))
        check(self.table.describe(self.handle, is_output, index, c.byref(io), c.byref(error)), error)
        if io.rank < 0:
            return Description(io.name.decode(), io.dtype, None)
        names = [io.dim_names[i] if io.dim_names else None for i in range(io.rank)]
        return Description(io.name.decode(), io.dtype, [io.shape[i] for i in range(io.rank)],
                           [name.decode() if name is not None else None for name in names])  # fmt: skip

    def session(self, device: tuple[int, int] = (CPU, 0), threads: int = 1) -> Session:
        return Session(self, device, threads)

    def close(self) -> None:
        self.table.release_model(self.handle)


def tensor_of(array: NDArray[Any], dtype: int, keep: list[Any]) -> Tensor:
    """A borrowed tensor over an array; `keep` holds what has to stay alive."""
    shape = (c.c_int64 * max(array.ndim, 1))(*array.shape)
    tensor = Tensor(struct_size=c.sizeof(Tensor), dtype=dtype, rank=array.ndim, device=Device(CPU, 0))
    tensor.shape = shape
    if dtype == BYTES:
        parts = [bytes(value) for value in array.reshape(-1)]
        offsets = (c.c_int32 * (len(parts) + 1))()
        for i, part in enumerate(parts):
            offsets[i + 1] = offsets[i] + len(part)
        data = b"".join(parts)
        tensor.offsets, tensor.nbytes = offsets, len(data)
        tensor.data = c.cast(c.c_char_p(data), c.c_void_p)
        keep += [shape, offsets, data]
        return tensor
    assert array.flags.c_contiguous, "not contiguous"
    tensor.nbytes = array.nbytes
    tensor.data = array.ctypes.data if array.size else None
    keep += [shape, array]
    return tensor


def array_of(tensor: Tensor) -> NDArray[Any]:
    """A copy of a tensor's elements."""
    shape = [tensor.shape[i] for i in range(tensor.rank)]
    count = int(np.prod(shape, dtype=np.int64))
    if tensor.dtype == BYTES:
        data = c.string_at(tensor.data, tensor.nbytes) if tensor.data else b""
        texts = [data[tensor.offsets[i] : tensor.offsets[i + 1]] for i in range(count)]
        result = np.empty(count, dtype=object)
        result[:] = texts
        return result.reshape(shape)
    dtype = np.dtype(DTYPES[tensor.dtype])
    data = c.string_at(tensor.data, count * dtype.itemsize) if count else b""
    return np.frombuffer(data, dtype=dtype).reshape(shape)


class Session:
    def __init__(self, model: Model, device: tuple[int, int], threads: int) -> None:
        self.model, self.table = model, model.table
        self.handle = c.c_void_p()
        error = Error(struct_size=c.sizeof(Error))
        out = c.byref(self.handle)
        check(self.table.create_session(model.handle, Device(*device), threads, out, c.byref(error)), error)

    def run_raw(self, inputs: list[Tensor], outputs: list[Tensor | None], cancel: Cancel | None = None) -> None:
        """One call of `run` with tensors as they are."""
        error = Error(struct_size=c.sizeof(Error))
        pointers = (c.POINTER(Tensor) * max(len(inputs), 1))(*[c.pointer(t) for t in inputs])
        wanted = (c.POINTER(Tensor) * max(len(outputs), 1))()
        for i, tensor in enumerate(outputs):
            if tensor is not None:
                wanted[i] = c.pointer(tensor)
        run = Run(struct_size=c.sizeof(Run), n_inputs=len(inputs), n_outputs=len(outputs), threads=1,
                  inputs=pointers, outputs=wanted)  # fmt: skip
        if cancel is not None:
            self.model.plugin.cancels[id(cancel)] = cancel
            run.cancel = id(cancel)
        try:
            check(self.table.run(self.handle, c.byref(run), c.byref(error)), error)
        except PluginError:
            for tensor in outputs:
                if tensor is not None and tensor.release:
                    tensor.release(c.byref(tensor))
            raise
        finally:
            self.model.plugin.cancels.pop(id(cancel), None)

    def run(
        self,
        *arrays: NDArray[Any],
        into: dict[int, NDArray[Any]] | None = None,
        skip: tuple[int, ...] = (),
        cancel: Cancel | None = None,
    ) -> list[NDArray[Any] | None]:
        """Outputs of a run: `into` gives memory for outputs by index, `skip` leaves outputs out."""
        keep: list[Any] = []
        inputs = [tensor_of(a, io.dtype, keep) for a, io in zip(arrays, self.model.inputs, strict=True)]
        outputs: list[Tensor | None] = []
        for i, io in enumerate(self.model.outputs):
            given = (into or {}).get(i)
            if i in skip:
                outputs.append(None)
            elif given is not None:
                outputs.append(tensor_of(given, io.dtype, keep))
            else:
                outputs.append(Tensor(struct_size=c.sizeof(Tensor)))
        self.run_raw(inputs, outputs, cancel)
        results: list[NDArray[Any] | None] = []
        for tensor in outputs:
            results.append(None if tensor is None else array_of(tensor))
            if tensor is not None and tensor.release:
                tensor.release(c.byref(tensor))
        return results

    def close(self) -> None:
        self.table.release_session(self.handle)
