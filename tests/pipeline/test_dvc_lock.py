"""What a killed dvc leaves: half of its list is removed, and who is still at work is waited for."""

import subprocess
import sys
import threading

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


def test_a_dvc_that_lives_on_in_this_folder_is_waited_for(tmp_path, capsys):
    """Before, dvc ended the study, and advised to remove its list while two worked."""
    other = tmp_path / "other"
    other.mkdir()
    call = [sys.executable, "-c", SLEEP]
    started = [
        subprocess.Popen([*call, *words], cwd=cwd, stdout=subprocess.PIPE, text=True)
        for cwd, words in ((tmp_path, ["/bin/dvc", "repro"]), (other, ["/bin/dvc", "repro"]), (tmp_path, ["/bin/dvc", "plots"]))
    ]
    try:
        assert all(process.stdout.readline() == "here\n" for process in started)
        dvc = started[0]
        assert list_at_work(tmp_path) == {dvc.pid}
        threading.Timer(1.0, dvc.kill).start()
        threading.Thread(target=dvc.wait).start()
        wait_for_dvc(tmp_path)
        assert dvc.poll() is not None
        said = capsys.readouterr().out
        assert said.count("\n") == 1 and f"dvc is still at work in {tmp_path} (process {dvc.pid})" in said
        wait_for_dvc(tmp_path)
        assert not capsys.readouterr().out
    finally:
        for process in started:
            process.kill()
