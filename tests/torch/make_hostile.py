"""Hostile files for the PyTorch plug-in, made of bytes alone: each is to be refused, without PyTorch or with it.

`hostile(canary)` gives (name, bytes, part of the message); code and pickles try to write the file `canary`, which must
not appear.
"""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from collections.abc import Callable

#: set by hostile()
CANARY = "canary"

CODE = b"""class M(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  def forward(self: __torch__.M,
    x: Tensor) -> Tensor:
    return torch.neg(x)
"""


def op_text(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def module_pickle(state: bytes = b"") -> bytes:
    """An object of class M whose attribute `training` is false; state adds attributes."""
    return b"\x80\x02c__torch__\nM\n)\x81}(" + op_text("training") + b"\x89" + state + b"ub."


def tensor_pickle(key: str, elements: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    def row(numbers: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"J" + struct.pack("<i", n) for n in numbers) + b"t"

    storage = b"(" + op_text("storage") + b"ctorch\nFloatStorage\n" + op_text(key) + op_text("cpu")
    storage += b"\x8a\x08" + struct.pack("<q", elements) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"J" + struct.pack("<i", offset) + row(size)
            + row(stride) + b"\x89" + hooks + b"tR")  # fmt: skip


class Zip:
    """A zip file whose every field can be wrong."""

    def __init__(self) -> None:
        self.body = b""
        self.central: list[bytes] = []

    def add(self, name: str, data: bytes, **wrong: int | bytes | bool) -> Zip:
        """wrong: packed, size, stored (bytes in the file), offset, local_name, method, flags, crc."""
        raw = zlib.compressobj(9, zlib.DEFLATED, -15) if wrong.get("packed") else None
        stored = wrong.get("stored", data if raw is None else raw.compress(data) + raw.flush())
        assert isinstance(stored, bytes)
        size, offset = wrong.get("size", len(data)), wrong.get("offset", len(self.body))
        method, flags = wrong.get("method", 8 if raw else 0), wrong.get("flags", 0)
        packed_size, crc = wrong.get("packed_size", len(stored)), wrong.get("crc", zlib.crc32(data))
        name_bytes = name.encode()
        local_name = wrong.get("local_name", name_bytes)
        assert isinstance(local_name, bytes)
        common = struct.pack("<HHHHHIII", 20, flags, method, 0, 0, crc, packed_size, size)
        self.central.append(b"PK\1\2" + struct.pack("<H", 20) + common
                            + struct.pack("<HHHHHII", len(name_bytes), 0, 0, 0, 0, 0, offset) + name_bytes)  # fmt: skip
        self.body += b"PK\3\4" + common + struct.pack("<HH", len(local_name), 0) + local_name + stored
        return self

    def end(self, *, count: int | None = None, offset: int | None = None, size: int | None = None) -> bytes:
        central = b"".join(self.central)
        n = len(self.central) if count is None else count
        return (self.body + central + b"PK\5\6" + struct.pack(
            "<HHHHIIH", 0, 0, n, n, len(central) if size is None else size,
            len(self.body) if offset is None else offset, 0))  # fmt: skip


def script(code: bytes = CODE, data: bytes | None = None, **more: bytes) -> Zip:
    archive = Zip().add("m/data.pkl", module_pickle() if data is None else data)
    archive.add("m/code/__torch__.py", code, packed=True).add("m/constants.pkl", b"\x80\x02).")
    for name, content in more.items():
        archive.add("m/" + name.replace("__", "/"), content)
    return archive.add("m/version", b"3\n")


def forward(line: str, before: str = "") -> bytes:
    return CODE.replace(b"    return torch.neg(x)", f"    {line}\n    return torch.neg(x)".encode()) + before.encode()


class Touch:
    """Its pickle, if it were loaded, would write the canary."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (io.open, (CANARY, "w"))


def code_files() -> list[tuple[str, bytes, str]]:
    lines = {
        "save": f'torch.save(x, "{CANARY}")',
        "save_spaced": f'torch . \n      save(x, "{CANARY}")',
        "save_aliased": f't = torch\n    f = t.save\n    f(x, "{CANARY}")',
        "save_getattr": f'getattr(torch, "save")(x, "{CANARY}")',
        "save_getattr_escaped": f'getattr(torch, "\\x73ave")(x, "{CANARY}")',
        "save_getattr_glued": f'getattr(torch, "sa" "ve")(x, "{CANARY}")',
        "save_by_name": f'ops.aten.save(x, "{CANARY}")',
        "from_file": 'y = torch.from_file("/etc/passwd", False, 10)',
        "rpc": 'rpc_sync("worker", f, (x,))',
        "foreign_ops": "y = ops.mylib.run(x)",
        "foreign_ops_aliased": "o = ops\n    y = o.mylib.run(x)",
        "network_ops": "y = ops.c10d.barrier(x)",
        "classes": "y = __torch__.torch.classes.mylib.Thing(x)",
        "open_text": 'y = "never ends',
        "quote_in_comment": '# """\n    y = torch.save(x, "f")\n    # """',
        "nul": "y = 1\0",
    }
    parts = {"foreign_ops": "ops.mylib", "foreign_ops_aliased": "another library", "network_ops": "ops.c10d",
             "classes": "torch.classes", "open_text": "cannot be read", "quote_in_comment": "cannot be read",
             "nul": "cannot be read", "from_file": "reads files", "rpc": "network",
             "save_getattr": "getattr", "save_getattr_escaped": "getattr", "save_getattr_glued": "getattr"}  # fmt: skip
    made = [(f"code_{name}.pt", script(forward(line)).end(), parts.get(name, "writes files"))
            for name, line in lines.items()]  # fmt: skip
    state = f'  def __setstate__(self: __torch__.M, s: bool) -> None:\n    ops.aten.sav(s, "{CANARY}")\n'.encode()
    made.append(("code_setstate.pt", script(CODE + state).end(), "runs while the file is loaded"))
    default = CODE.replace(b"x: Tensor)", f'x: Tensor, y: int=torch.save(1, "{CANARY}"))'.encode())
    return [*made, ("code_default.pt", script(default).end(), "writes files")]


def pickle_files() -> list[tuple[str, bytes, str]]:
    def weights(pickled: bytes, n_bytes: int = 24, key: str = "0") -> bytes:
        state = op_text("w") + pickled
        return script(data=module_pickle(state)).add(f"m/data/{key}", bytes(n_bytes)).end()

    bomb = pickle.dumps(Touch(), protocol=2)
    return [
        ("pickle_reduce.pt", script(data=bomb).end(), "name 'open' of"),
        ("pickle_eval.pt", script(data=b"\x80\x02c__builtin__\neval\n(" + op_text("1") + b"tR.").end(), "name 'eval'"),
        ("pickle_classes.pt", script(data=b"\x80\x02c__torch__.torch.classes.x\nY\n)\x81}b.").end(), "written in C++"),
        ("pickle_short_bytes.pt", weights(tensor_pickle("0", 1 << 40, (6,), (1,))), "fewer bytes than it says"),
        ("pickle_no_bytes.pt", weights(tensor_pickle("9", 6, (6,), (1,))), "fewer bytes than it says"),
        ("pickle_beyond.pt", weights(tensor_pickle("0", 6, (7,), (1,))), "reaches beyond its bytes"),
        ("pickle_stride.pt", weights(tensor_pickle("0", 6, (2, 2), (1 << 30, 1))), "reaches beyond its bytes"),
        ("pickle_negative.pt", weights(tensor_pickle("0", 6, (-3,), (1,))), "reaches beyond its bytes"),
        ("pickle_offset.pt", weights(tensor_pickle("0", 6, (1,), (1,), offset=6)), "reaches beyond its bytes"),
        ("pickle_cut.pt", script(data=module_pickle()[:-1]).end(), "cut off"),
        ("pickle_empty.pt", script(data=b"").end(), "cut off"),
        ("pickle_underflow.pt", script(data=b"\x80\x02bbb.").end(), "damaged"),
        ("pickle_memo.pt", script(data=b"\x80\x02h\x05.").end(), "damaged"),
        ("pickle_instruction.pt", script(data=b"\x80\x02S'x'\n.").end(), "does not use"),
        ("legacy_bomb.pt", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + bomb, "checkpoint or pickled module"),
        ("bomb.pt", bomb, "none of PyTorch's files"),
    ]


def zip_files() -> list[tuple[str, bytes, str]]:
    good = script().end()
    twice = script().add("m/code/__torch__.py", CODE.replace(b"neg", b"abs")).end()
    cases = script().add("m/CODE/__torch__.py", CODE).end()
    overlap = script()
    overlap.add("m/data/0", b"", offset=0, size=4, packed_size=4, local_name=b"m/data/0")
    bomb = script().add("m/code/b.py", b"", method=8, size=1 << 31, packed_size=10, stored=bytes(10))
    ratio = script().add("m/data/0", b"\0" * (80 << 20), packed=True)
    return [
        ("zip_cut.pt", good[:-30], "cut off"),
        ("zip_half.pt", good[: len(good) // 2], "cut off"),
        ("zip_head.pt", b"PK\3\4", "cut off"),
        ("zip_twice.pt", twice, "twice"),
        ("zip_other_case.pt", cases, "twice"),
        ("zip_other_case_alone.pt", script().add("m/Code/x.py", CODE).end(), "named as PyTorch does not"),
        ("zip_slip.pt", script().add("m/../../x", b"").end(), "leads out"),
        ("zip_absolute.pt", script().add("/m/x", b"").end(), "leads out"),
        ("zip_backslash.pt", script().add("m/a\\b", b"").end(), "leads out"),
        ("zip_two_tops.pt", script().add("n/code/x.py", CODE).end(), "different folders"),
        ("zip_overlap.pt", overlap.end(), "not where the directory says"),
        ("zip_same_place.pt", script().add("m/x", b"a", offset=0).end(), "not where the directory says"),
        ("zip_other_name.pt", script().add("m/x", b"a", local_name=b"m/y").end(), "not where the directory says"),
        ("zip_beyond.pt", script().add("m/x", b"", size=1 << 30, packed_size=1 << 30).end(), "not where"),
        ("zip_sizes.pt", script().add("m/x", b"abc", size=4).end(), "impossible"),
        ("zip_bomb.pt", bomb.end(), "impossible"),
        ("zip_ratio.pt", ratio.end(), "is packed"),
        ("zip_method.pt", script().add("m/x", b"abc", method=12).end(), "does not use"),
        ("zip_encrypted.pt", script().add("m/x", b"abc", flags=1).end(), "does not use"),
        ("zip_crc.pt", script().add("m/code/y.py", CODE, crc=1).end(), "not those that were saved"),
        ("zip_garbage.pt", script().add("m/code/y.py", CODE, method=8).end(), "cannot be unpacked"),
        ("zip_count.pt", script().end(count=9), "directory"),
        ("zip_offset.pt", script().end(offset=1 << 31), "not where it should be"),
        ("zip_size.pt", script().end(size=7), "not where it should be"),
    ]


def package_files() -> list[tuple[str, bytes, str]]:
    top = "m/data/aotinductor/model/"

    def package(isa: str | None = "INVALID_VEC_ISA", so: bytes | None = b"\x7fELF", **metadata: str) -> Zip:
        pairs = {"AOTI_DEVICE_KEY": "cpu", "AOTI_PLATFORM": "linux"} | metadata
        if isa is not None:
            pairs["AOTI_CPU_ISA"] = isa
        json = "{" + ", ".join(f'"{key}": "{value}"' for key, value in pairs.items()) + "}"
        archive = Zip().add(top + "x.wrapper_metadata.json", json.encode())
        return archive if so is None else archive.add(top + "x.wrapper.so", so)

    elf = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HH", 3, 62) + bytes(44)
    return [
        ("isa_neon.pt2", package("NEON").end(), "for a processor with NEON"),
        ("isa_unknown.pt2", package("AVX1024").end(), "for a processor with AVX1024"),
        ("isa_missing.pt2", package(None).end(), "does not say for which processor"),
        ("device_cuda.pt2", package(AOTI_DEVICE_KEY="cuda").end(), "the device 'cuda'"),
        ("platform.pt2", package(AOTI_PLATFORM="win32").end(), "the system 'win32'"),
        ("machine.pt2", package(AOTI_MACHINE="s390x").end(), "the processor 's390x'"),
        ("no_so.pt2", package(so=None).end(), "library is missing"),
        ("no_elf.pt2", package(so=b"#!/bin/sh\ntouch x\n" * 9).end(), "no library of this machine"),
        ("short_elf.pt2", package().end(), "no library of this machine"),
        ("elf_header.pt2", package(so=elf).end(), "does not fit PyTorch"),
        ("other_elf.pt2", package(so=elf[:18] + b"\xb7" + elf[19:]).end(), "no library of this machine"),
        ("two_models.pt2", package().add("m/data/aotinductor/b/x.so", b"").end(), "several models"),
        ("no_files.pt2", Zip().add("m/data/aotinductor/x", b"").end(), "holds no model"),
    ]


def hostile(canary: str) -> list[tuple[str, bytes, str]]:
    global CANARY  # noqa: PLW0603 - the one thing that the files share
    CANARY = canary
    return [*code_files(), *pickle_files(), *zip_files(), *package_files()]
