import contextlib
import errno
import os
import stat

import pytest

from mml.files import make_folder, replacing


def test_what_is_written_takes_the_place_of_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with replacing(str(path)) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
        assert partial.parent == tmp_path
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), replacing(path) as partial:
        partial.write_text("ne")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_cannot_be_taken_leaves_nothing_else(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError), replacing(tmp_path / "folder") as partial:
        partial.write_text("new")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_two_writers_do_not_share_a_file(tmp_path):
    path = tmp_path / "file.txt"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first, and longer")
        second.write_text("second")
    assert path.read_text() == "first, and longer"  # which was moved into place last
    assert list(tmp_path.iterdir()) == [path]


def test_content_reaches_the_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    path, events, fsync, replace = tmp_path / "file.txt", [], os.fsync, os.replace

    def recorded_fsync(descriptor):
        events.append(stat.S_ISDIR(os.fstat(descriptor).st_mode) or os.pread(descriptor, 9, 0))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", lambda *names: (events.append("moved"), replace(*names)))
    with replacing(path) as partial:
        partial.write_text("new")
    assert events == [b"new", "moved", True]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
def test_a_folder_that_cannot_be_synced(tmp_path, monkeypatch, code):
    """A file system that cannot sync folders is not an error, but a failing disk is."""

    def failing_fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", failing_fsync)
    with contextlib.nullcontext() if code == errno.EINVAL else pytest.raises(OSError, match="Input/output"):
        make_folder(tmp_path / "new")


def test_without_folders_that_can_be_synced_the_file_is_there(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_DIRECTORY")  # as on Windows
    with replacing(tmp_path / "file.txt") as partial:
        partial.write_text("new")
    assert (tmp_path / "file.txt").read_text() == "new"


def test_folders_are_made_and_synced_with_their_parents(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (synced.append(os.fstat(descriptor).st_ino), fsync(descriptor))
    )
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
    assert sorted(synced) == sorted(path.stat().st_ino for path in (tmp_path, tmp_path / "a"))
