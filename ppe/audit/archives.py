"""Pictures in zip and tar files. Nothing is unpacked but one picture at a time, into a temporary folder.

A member whose path leads out of the archive, and a link, are listed with a reason and never opened.
"""

import hashlib
import os
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from ppe.datasets.photos import OTHER_SUFFIXES, PHOTO_SUFFIXES, Photo, describe_error, load_photo

MAX_BYTES = 100_000_000
"""Largest picture of an archive; a larger one is refused as a decompression bomb."""
LEADS_OUT = "its path leads out of the archive"
BROKEN = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, tarfile.TarError)


def open_archive(path):
    """Open a zip or tar file.

    Parameters
    ----------
    path : path

    Returns
    -------
    names, read, digest : as in ``ppe.audit.inputs.Source``; pictures in the order of the file.

    Raises
    ------
    ValueError
        If the file is not a whole archive.
    """
    try:
        if zipfile.is_zipfile(path):
            archive = zipfile.ZipFile(path)
            members = [(entry.filename, entry, _doubt_zip(entry)) for entry in archive.infolist() if not entry.is_dir()]
            extract = archive.read
        else:
            archive = tarfile.open(path)
            members = [(entry.name, entry, _doubt_tar(entry)) for entry in archive if not entry.isdir()]

            def extract(entry):
                return archive.extractfile(entry).read()
    except BROKEN as error:  # a ReadError of tarfile lists all that it tried
        reason = "it may be cut off" if isinstance(error, tarfile.ReadError) else describe_error(error)
        raise ValueError(f"{path} is not a whole zip or tar file ({reason})") from None
    members = [member for member in members if _is_picture(member[0])]

    def fetch(entry, reason):
        try:
            return b"" if reason else extract(entry), reason
        except BROKEN as error:
            return b"", describe_error(error)
        except Exception as error:  # zlib and lzma have errors of their own
            return b"", f"it cannot be unpacked: {describe_error(error)}"

    def read(start, stop):
        return [_decode(name, *fetch(entry, reason)) for name, entry, reason in members[start:stop]]

    def digest(start, stop):
        total = hashlib.sha256()
        for name, entry, reason in members[start:stop]:
            content, reason = fetch(entry, reason)
            total.update(f"{name}\0{reason}\0".encode("utf-8", "backslashreplace") + hashlib.sha256(content).digest())
        return total.hexdigest()

    return [name.encode("utf-8", "backslashreplace").decode() for name, _, _ in members], read, digest


def _decode(name, content, reason):
    """The ``Photo`` of a picture's bytes: read from a temporary file, by the reader that files have."""
    if reason:
        return Photo(None, reason)
    with tempfile.TemporaryDirectory() as folder:
        file = f"picture{PurePosixPath(name).suffix.lower()}"
        (Path(folder) / file).write_bytes(content)
        return load_photo(folder, file)._replace(whole=None)


def _is_picture(name):
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") and part != ".." for part in parts) or "__MACOSX" in parts
    return not hidden and os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES | OTHER_SUFFIXES


def _doubt(name, size):
    """Why a member is not opened: str, "" if it is."""
    path, suffix = PurePosixPath(name), os.path.splitext(name)[1].lower()
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0]:
        return LEADS_OUT
    if suffix in OTHER_SUFFIXES:
        return f"{suffix} is not read: save it as .jpg or .png"
    return f"{size} bytes: more than {MAX_BYTES}" if size > MAX_BYTES else ""


def _doubt_zip(entry):
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "a link, which is not followed"
    return "it is encrypted" if entry.flag_bits & 1 else _doubt(entry.filename, entry.file_size)


def _doubt_tar(entry):
    return _doubt(entry.name, entry.size) if entry.isfile() else "a link or a special file, which is not followed"
