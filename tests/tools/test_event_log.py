"""What tools/event_log.py reads from an application's event log."""

import json

import event_log
import pytest


def job(stages, description):
    return {"Event": "SparkListenerJobStart", "Stage IDs": stages, "Properties": {"spark.job.description": description}}


def task(stage, *, rows=0, cpu_ns=0, failed=False, shuffled=0, spilled=0, python=()):
    return {
        "Event": "SparkListenerTaskEnd",
        "Stage ID": stage,
        "Task Info": {
            "Failed": failed,
            "Accumulables": [{"Name": name, "Update": update} for name, update in python],
        },
        "Task Metrics": {
            "Executor CPU Time": cpu_ns,
            "Disk Bytes Spilled": spilled,
            "Input Metrics": {"Records Read": rows},
            "Shuffle Write Metrics": {"Shuffle Bytes Written": shuffled},
        },
    }


EVENTS = [
    {"Event": "SparkListenerLogStart"},
    job([0, 1], "first"),
    task(0, rows=10, cpu_ns=2_000_000_000, python=[("time to run Python workers", "1500")]),
    task(0, failed=True),
    task(1, shuffled=2_500, python=[("data sent to Python workers", 3_000_000), ("another", 7)]),
    job([2], None),
    task(2, spilled=5),
    job([1, 3], "first"),  # stage 1 is done already
    task(3, rows=1),
]


def write(path, events):
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def test_tasks_are_added_to_the_description_of_their_job(tmp_path):
    found = event_log.read(write(tmp_path / "app", EVENTS))
    assert list(found) == ["first", "(no description)"]
    first = found["first"]
    assert (first.jobs, first.stages, first.tasks, first.failed, first.rows) == (2, 3, 4, 1, 11)
    assert (first.executor_s, first.python_s, first.sent_bytes) == (2.0, 1.5, 3e6)
    assert (first.shuffled_bytes, found["(no description)"].spilled_bytes) == (2_500, 5)
    head, one, other, total = event_log.table(found)
    assert (
        head.split()[:3] == ["jobs", "stages", "tasks"] and len({len(line) for line in (head, one, other, total)}) == 1
    )
    assert one.split() == ["first", "2", "3", "4", "1", "11", "2.00", "1.50", "3.0", "MB", "2.5", "kB", "0", "B"]
    assert total.split()[:6] == ["all", "3", "4", "5", "1", "11"]


def test_a_rolled_log_is_read_in_its_order(tmp_path):
    folder = tmp_path / "eventlog_v2_app"
    folder.mkdir()
    for i, event in enumerate([job([0], "x"), *[task(0, rows=1)] * 10], 1):
        write(folder / f"events_{i}_app", [event])
    (folder / "appstatus_app").touch()
    assert event_log.read(folder)["x"].rows == 10


def test_a_log_that_is_being_written_is_read_so_far(tmp_path):
    log = write(tmp_path / "app.inprogress", EVENTS[:3])
    log.write_text(log.read_text() + '{"Event": "SparkListenerTaskEnd", "Sta')
    assert event_log.read(log)["first"].tasks == 1


@pytest.mark.parametrize("content", [b"\x28\xb5\x2f\xfd\x00compressed", b"not JSON\n"])
def test_what_is_no_log_is_refused(tmp_path, content, capsys, monkeypatch):
    (tmp_path / "app.zstd").write_bytes(content)
    monkeypatch.setattr("sys.argv", ["event_log", str(tmp_path / "app.zstd")])
    assert event_log.main() == 1
    assert "spark.eventLog.compress=false" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e6, "2.5 MB"), (7e12, "7000.0 GB")]
)
def test_sizes(n, text):
    assert event_log.size(n) == text
