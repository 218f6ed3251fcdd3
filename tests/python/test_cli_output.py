"""What `vonk run` leaves behind when it is ended, when the disk is full, and when all goes well."""

import contextlib
import os
import pty
import re
import shutil
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from program import FILES, INTERRUPTED, OK, TERMINATED, complaint, dense, lists, program, read, vonk

ROWS = 60_000


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A model and rows that take many seconds to score."""
    where = tmp_path_factory.mktemp("slow")
    where.joinpath("m.onnx").write_bytes(dense(n_in=16, hidden=[2048, 2048], n_out=4).SerializeToString())
    x = np.random.default_rng(0).random((ROWS, 16), dtype=np.float32)
    pq.write_table(pa.table({"x": lists(x)}), where / "in.parquet")
    return where


@pytest.fixture
def quick(tmp_path):
    tmp_path.joinpath("m.onnx").write_bytes(dense().SerializeToString())
    x = np.random.default_rng(0).random((ROWS, 4), dtype=np.float32)
    pq.write_table(pa.table({"x": lists(x)}), tmp_path / "in.parquet")
    return tmp_path


def start(slow, out, threads):
    """A run of which the output file has been begun."""
    words = [program(), "run", "m.onnx", "in.parquet", "-o", out / "out.parquet", "--threads", str(threads)]
    process = subprocess.Popen(words, cwd=slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(500):
        if list(out.iterdir()) != []:
            return process
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("no file was begun in 10 s")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
def test_an_interrupted_run_leaves_nothing(slow, tmp_path, threads, number, code):
    process = start(slow, tmp_path, threads)
    sent = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    took = time.monotonic() - sent
    assert (process.returncode, out, err) == (code, "", "vonk run: interrupted: nothing was written\n")
    assert list(tmp_path.iterdir()) == []
    assert took < 5, f"{took:.1f} s to end"


def test_an_interrupted_run_leaves_the_old_output(slow, tmp_path):
    old = tmp_path / "out.parquet"
    old.write_bytes(b"old")
    words = [program(), "run", "m.onnx", "in.parquet", "-o", old, "--threads", "1"]
    process = subprocess.Popen(words, cwd=slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while len(list(tmp_path.iterdir())) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]


def test_a_killed_run_leaves_nothing_under_the_final_name(slow, tmp_path):
    process = start(slow, tmp_path, 2)
    process.kill()
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "out.parquet").exists()


def test_a_signal_while_reading_the_standard_input(quick):
    out = quick / "out"
    out.mkdir()
    words = [program(), "run", "m.onnx", "-", "-o", "out/out.csv"]
    environment = {**os.environ, "TMPDIR": str(out)}
    process = subprocess.Popen(words, cwd=quick, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    process.stdin.write(b"x\n")
    process.stdin.flush()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == INTERRUPTED
    process.stdin.close()
    process.stderr.close()
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.jsonl"])
def test_a_file_that_may_not_grow_is_one_clear_error(quick, name):
    limit = 64 << 10
    words = [program(), "run", "m.onnx", "in.parquet", "-o", name]
    limited = f'ulimit -f {limit // 1024} && exec "$@"'
    done = subprocess.run(
        ["bash", "-c", limited, "vonk", *words], cwd=quick, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == FILES, done
    assert done.stderr.startswith(f"vonk run: {name}: ") and done.stderr.count("\n") == 1, done.stderr
    assert sorted(path.name for path in quick.iterdir()) == ["in.parquet", "m.onnx"]


def test_a_full_disk_is_one_clear_error(quick):
    disk = quick / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    try:
        message = complaint("run", "m.onnx", "in.parquet", "-o", "disk/out.parquet", code=FILES, cwd=quick)
        assert "No space left on device" in message, message
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_device_is_written_straight(quick):
    message = complaint(
        "run", "m.onnx", "in.parquet", "-o", "/dev/full", "--output-format", "csv", code=FILES, cwd=quick
    )
    assert "No space left on device" in message
    vonk("run", "m.onnx", "in.parquet", "-o", "/dev/null", "--output-format", "csv", cwd=quick, check=OK)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116


def test_a_full_standard_output_is_an_error(quick):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        words = [program(), "run", "m.onnx", "in.parquet", "-o", "-"]
        done = subprocess.run(words, cwd=quick, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == FILES
    assert done.stderr == "vonk run: the standard output: cannot be written to: No space left on device\n"


def test_standard_output_can_be_appended_to(quick):
    """The output goes where the descriptor stands, it does not open the file anew."""
    with (quick / "log.csv").open("wb") as log:
        log.write(b"before\n")
        log.flush()
        words = [program(), "run", "m.onnx", "in.parquet", "-o", "-", "--select", ""]
        subprocess.run(words, cwd=quick, stdout=log, stderr=subprocess.DEVNULL, check=True, timeout=60)
        log.seek(0, os.SEEK_END)
        log.write(b"after\n")
    lines = (quick / "log.csv").read_text().splitlines()
    assert (lines[0], lines[1], lines[-1], len(lines)) == ("before", "y", "after", ROWS + 3)


def test_head_ends_a_pipe_quietly(quick):
    done = subprocess.run(
        ["bash", "-c", '"$0" run m.onnx in.parquet -o - --quiet | head -2', program()],
        cwd=quick,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout.splitlines()[0], done.stderr) == ("x,y", "")


def test_an_existing_file_is_replaced_and_keeps_its_permissions(quick):
    out = quick / "out.parquet"
    out.write_bytes(b"old")
    out.chmod(0o640)
    vonk("run", "m.onnx", "in.parquet", "-o", "out.parquet", cwd=quick, check=OK)
    assert read(out).num_rows == ROWS
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    assert sorted(path.name for path in quick.iterdir()) == ["in.parquet", "m.onnx", "out.parquet"]


def test_a_link_stays_a_link(quick):
    (quick / "real").mkdir()
    (quick / "real" / "data.parquet").write_bytes(b"old")
    (quick / "out.parquet").symlink_to("real/data.parquet")
    vonk("run", "m.onnx", "in.parquet", "-o", "out.parquet", cwd=quick, check=OK)
    assert (quick / "out.parquet").is_symlink()
    assert read(quick / "real" / "data.parquet").num_rows == ROWS


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("no/out.csv", "vonk run: no/out.csv: cannot be written: the folder no: No such file or directory"),
        ("folder.csv", "vonk run: folder.csv: cannot be written: is a folder"),
    ],
)
def test_an_output_that_cannot_be_written(quick, output, message):
    (quick / "folder.csv").mkdir()
    assert complaint("run", "m.onnx", "in.parquet", "-o", output, code=FILES, cwd=quick) == message


def test_an_ending_nobody_knows(quick):
    message = complaint("run", "m.onnx", "in.parquet", "-o", "out.xls", code=2, cwd=quick)
    assert message.startswith(
        "vonk run: -o: 'out.xls' does not end with .parquet, .csv, .tsv, .json, .jsonl or .ndjson: choose with "
        "--output-format\n"
    )


def test_memory_stays_flat(tmp_path):
    """Ten times the rows must not need more memory: peak of the whole process, as the kernel counts it."""
    tmp_path.joinpath("m.onnx").write_bytes(dense(n_in=256).SerializeToString())
    x = np.random.default_rng(0).random((20_000, 256), dtype=np.float32)
    table = pa.table({"x": lists(x)})
    with pq.ParquetWriter(tmp_path / "big.parquet", table.schema, compression="none", use_dictionary=False) as writer:
        for _ in range(10):
            writer.write_table(table)
    pq.write_table(table, tmp_path / "small.parquet", compression="none", use_dictionary=False)
    launcher = (
        "import os, sys\n"
        "_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)\n"
        "assert status == 0\n"
        "print(usage.ru_maxrss)\n"
    )  # a child starts with the peak of the process that made it, and this one has held the rows
    peaks = {}
    for name in ("small", "big"):
        words = [program(), "run", "m.onnx", f"{name}.parquet", "-o", "out.parquet", "--select", "", "--threads", "2"]
        command = [sys.executable, "-S", "-c", launcher, *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        peaks[name] = int(done.stdout) / 1024
    assert peaks["big"] - peaks["small"] < 100, f"MB: {peaks}"
    shutil.rmtree(tmp_path)


def test_progress_on_a_terminal_shows_rate_and_time_left(slow, tmp_path):
    try:
        ours, theirs = pty.openpty()
    except OSError:
        pytest.skip("this machine has no pseudo-terminals")
    words = [program(), "run", "m.onnx", "in.parquet", "-o", tmp_path / "out.parquet", "--threads", "1"]
    process = subprocess.Popen(words, cwd=slow, stderr=theirs)
    os.close(theirs)
    shown = ""
    with contextlib.suppress(OSError):  # the terminal goes away with the process
        while " left" not in shown:
            shown += os.read(ours, 1000).decode()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=20)
    os.close(ours)
    pattern = rf"\r\x1b\[K([\d,]+) of {ROWS:,} rows, ([\d,]+) rows/s, [\d.]+ (min|s|h)( \d+ s)? left"
    found = re.search(pattern, shown)
    assert found, repr(shown)
    assert 0 < int(found[1].replace(",", "")) < ROWS
