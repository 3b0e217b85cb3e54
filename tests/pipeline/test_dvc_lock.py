"""What a killed dvc leaves: half of its list is removed, and who is still at work is waited for."""

import json
import os
import subprocess
import sys
import threading
import time

from ppe.pipeline.dvc_lock import drop_broken_lock, list_at_work, wait_for_dvc

SLEEP = "import time; print('here', flush=True); time.sleep(60)"


def test_half_a_lock_that_a_killed_dvc_left_is_removed_and_a_whole_one_stays(tmp_path):
    lock = tmp_path / ".dvc" / "tmp" / "rwlock"
    assert not drop_broken_lock(tmp_path)
    lock.parent.mkdir(parents=True)
    lock.write_text("{}")
    assert not drop_broken_lock(tmp_path) and lock.exists()
    for half in ("", '{"read": {"data'):
        lock.write_text(half)
        assert drop_broken_lock(tmp_path, patience=0.1) and not lock.exists()


def test_half_a_lock_that_a_living_dvc_is_writing_stays(tmp_path):
    lock = tmp_path / ".dvc" / "tmp" / "rwlock"
    lock.parent.mkdir(parents=True)
    lock.write_text("")
    writer = threading.Timer(0.2, lock.write_text, ["{}"])
    writer.start()
    assert not drop_broken_lock(tmp_path, patience=5.0) and lock.read_text() == "{}"
    writer.join()


def test_a_dvc_that_lives_on_is_waited_for_and_another_program_with_its_number_is_not(tmp_path, capsys):
    """Before, dvc ended the study, and advised to remove its list while two worked."""
    lock = tmp_path / ".dvc" / "tmp" / "rwlock"
    lock.parent.mkdir(parents=True)
    assert list_at_work(tmp_path) == set()
    dvc = subprocess.Popen([sys.executable, "-c", SLEEP, "/somewhere/bin/dvc", "repro"], stdout=subprocess.PIPE, text=True)
    assert dvc.stdout.readline() == "here\n"
    entry, own, gone = ({"pid": pid, "cmd": "dvc repro"} for pid in (dvc.pid, os.getpid(), 2**22 + 1))
    lock.write_text(json.dumps({"read": {"data/a": [own, entry]}, "write": {"data/b": gone}}))
    assert list_at_work(tmp_path) == {dvc.pid}
    threading.Timer(1.0, lambda: (dvc.kill(), dvc.wait())).start()
    started = time.monotonic()
    wait_for_dvc(tmp_path)
    assert dvc.poll() is not None and time.monotonic() - started < 30
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and f"dvc is still at work in {tmp_path} (process {dvc.pid})" in said
    wait_for_dvc(tmp_path)
    assert not capsys.readouterr().out
