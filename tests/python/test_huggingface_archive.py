"""A model's folder as one zip: equal folders are equal files, and a stranger's zip writes nothing elsewhere."""

import hashlib
import multiprocessing
import stat
import zipfile

import pytest
import vonk

pytest.importorskip("pyarrow")
from vonk.huggingface import _archive, _folder


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    (made / "1_Pooling").mkdir(parents=True)
    (made / "config.json").write_text("{}")
    (made / "1_Pooling" / "config.json").write_text('{"dim": 3}')
    (made / "model.safetensors").write_bytes(bytes(range(256)) * 5000)
    for left_out in (
        "README.md",
        "pytorch_model.bin",
        "training_args.bin",
        "tf_model.h5",
        "model.onnx",
        ".gitattributes",
    ):
        (made / left_out).write_text("x")
    (made / ".git").mkdir()
    (made / ".git" / "config").write_text("x")
    return made


def test_a_folder_comes_back_without_what_is_not_of_the_model(folder, tmp_path):
    names = _folder.files_of(folder)
    assert names == ["1_Pooling/config.json", "config.json", "model.safetensors"]
    _archive.pack(folder, names, tmp_path / "a.zip")
    back = _archive.unpack(tmp_path / "a.zip", tmp_path / "back", sha256(tmp_path / "a.zip"))
    found = {str(file.relative_to(back)): file.read_bytes() for file in back.rglob("*") if file.is_file()}
    assert found == {name: (folder / name).read_bytes() for name in names}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "back", "back.lock", "model"]
    (folder / "config.json").touch()
    _archive.pack(folder, names, tmp_path / "b.zip")
    assert sha256(tmp_path / "a.zip") == sha256(tmp_path / "b.zip"), "the date of a file is in the zip"
    assert _folder.digest(folder) == _folder.digest(back)


def test_a_link_to_a_folder_is_not_left_out_in_silence(folder, tmp_path):
    (folder / "1_Pooling").rename(tmp_path / "pooling")
    (folder / "1_Pooling").symlink_to(tmp_path / "pooling")
    with pytest.raises(vonk.UnsupportedError, match="'1_Pooling' is a link to a folder"):
        _folder.files_of(folder)


def test_links_of_the_hubs_cache_are_followed(folder, tmp_path):
    (tmp_path / "blob").write_bytes((folder / "model.safetensors").read_bytes())
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    _archive.pack(folder, _folder.files_of(folder), tmp_path / "a.zip")
    back = _archive.unpack(tmp_path / "a.zip", tmp_path / "back", sha256(tmp_path / "a.zip"))
    assert (back / "model.safetensors").read_bytes() == (tmp_path / "blob").read_bytes()


def hostile(path, name, content=b"x", mode=stat.S_IFREG | 0o644, compress=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compress) as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        entry.compress_type = compress
        archive.writestr(entry, content)
    return path


@pytest.mark.parametrize(
    ("name", "more", "why"),
    [
        ("../out", {}, "leads out of its folder"),
        ("a/../../out", {}, "leads out of its folder"),
        ("/tmp/vonk-out", {}, "leads out of its folder"),
        ("..\\out", {}, "leads out of its folder"),
        ("folder/", {"content": b""}, "is no file"),
        ("link", {"content": b"/etc/passwd", "mode": stat.S_IFLNK | 0o777}, "is a link or a device"),
        ("bomb", {"content": bytes(1 << 22), "compress": zipfile.ZIP_DEFLATED}, "larger than the zip"),
        ("small bomb", {"content": bytes(100), "compress": zipfile.ZIP_DEFLATED}, "is compressed"),
    ],
)  # fmt: skip
def test_a_hostile_zip_writes_nothing(tmp_path, name, more, why):
    inner = tmp_path / "inner"
    inner.mkdir()
    archive = hostile(tmp_path / "hostile.zip", name, **more)
    with pytest.raises(vonk.ModelError, match=why):
        _archive.unpack(archive, inner / "back", sha256(archive))
    assert [path.name for path in inner.iterdir()] == ["back.lock"]
    assert not (tmp_path / "out").exists() and not (inner / "out").exists()


def test_a_zip_that_is_broken_or_not_the_one_that_was_sent(folder, tmp_path):
    _archive.pack(folder, _folder.files_of(folder), tmp_path / "a.zip")
    whole = (tmp_path / "a.zip").read_bytes()
    with pytest.raises(vonk.ModelError, match=f"has sha256 {sha256(tmp_path / 'a.zip')}, pinned is 00"):
        _archive.unpack(tmp_path / "a.zip", tmp_path / "back", "00")
    broken = {"cut": whole[: len(whole) // 2], "no zip": b"no zip at all", "empty": b""}
    middle = len(whole) // 2
    broken["flipped"] = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    for what, content in broken.items():
        (tmp_path / "b.zip").write_bytes(content)
        with pytest.raises(vonk.ModelError, match="is no whole zip file"):
            _archive.unpack(tmp_path / "b.zip", tmp_path / "back", sha256(tmp_path / "b.zip"))
        assert not (tmp_path / "back").exists(), what
    assert not list(tmp_path.glob(".back-*"))


def test_a_file_that_is_gone_from_the_unpacked_folder_is_missed(folder, tmp_path):
    archive, back = tmp_path / "a.zip", tmp_path / "back"
    _archive.pack(folder, _folder.files_of(folder), archive)
    digest = sha256(archive)
    assert _archive.unpack(archive, back, digest) == _archive.unpack(archive, back, digest)
    content = (back / "model.safetensors").read_bytes()
    (back / "model.safetensors").write_bytes(content[:-1])
    with pytest.raises(vonk.ModelError, match=r"'a.zip': its unpacked 'model.safetensors' .* pinned"):
        _archive.unpack(archive, back, digest)
    (back / "model.safetensors").write_bytes(content)
    (back / "1_Pooling" / "config.json").unlink()
    with pytest.raises(vonk.ModelError, match=r"its unpacked '1_Pooling/config.json' is gone"):
        _archive.unpack(archive, back, digest)


def test_without_locks_the_first_of_two_folders_stays(folder, tmp_path):
    _archive.pack(folder, _folder.files_of(folder), tmp_path / "a.zip")
    for _ in range(2):
        _archive._unpack(tmp_path / "a.zip", tmp_path / "back")
    assert (tmp_path / "back" / "config.json").read_text() == "{}"
    assert not list(tmp_path.glob(".back-*"))


def _unpack(archive, folder, digest, done):
    _archive.unpack(archive, folder, digest)
    done.put((folder / "model.safetensors").stat().st_size)


def test_processes_that_unpack_at_once_find_one_whole_folder(folder, tmp_path):
    (folder / "model.safetensors").write_bytes(bytes(20_000_000))
    _archive.pack(folder, _folder.files_of(folder), tmp_path / "a.zip")
    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    arguments = (tmp_path / "a.zip", tmp_path / "back", sha256(tmp_path / "a.zip"), done)
    processes = [context.Process(target=_unpack, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    assert [done.get(timeout=60) for _ in processes] == [20_000_000] * 3
    for process in processes:
        process.join()
    assert not list(tmp_path.glob(".back-*"))
