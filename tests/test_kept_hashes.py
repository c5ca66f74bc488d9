"""Hashes of large files, kept between processes."""

import hashlib
import os
import subprocess
import sys

import pytest

from metarfft_core import cli
from metarfft_core.system import files
from metarfft_core.system.places import ROOT

HASH = """
import sys
from metarfft_core.system import files
read = []
whole = files._read_whole
files._read_whole = lambda path: read.append(path) or whole(path)
print(files.sha256(sys.argv[1]), len(read))
"""


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file that is large enough, written some time ago, and an empty cache folder."""
    monkeypatch.setenv("METARFFT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "model.safetensors"
    path.write_bytes(os.urandom(2**20) * 32)
    age(path, 60)
    return path


def age(path, seconds):
    before = path.stat().st_mtime_ns - int(seconds * 1e9)
    os.utime(path, ns=(before, before))


def hashed(path):
    """What another process says is the hash of a file, and how many files it read for that."""
    done = subprocess.run([sys.executable, "-c", HASH, str(path)], capture_output=True, text=True,
                          cwd=ROOT, check=True)
    value, read = done.stdout.split()
    assert value == hashlib.sha256(path.read_bytes()).hexdigest()
    return int(read)


def test_a_second_process_does_not_read_the_file(weights):
    """The first process reads it, a second one does not; a small file is always read."""
    assert [hashed(weights), hashed(weights)] == [1, 0]
    small = weights.with_name("small")
    small.write_bytes(b"few")
    age(small, 60)
    assert [hashed(small), hashed(small)] == [1, 1]


def test_several_files_are_hashed_at_once(weights, tmp_path):
    """Their hashes come in the order of the paths; anew, a hash that is known is not believed."""
    paths = [weights]
    for number in range(20):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(os.urandom(1000 * number))
    right = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert files.all_sha256(paths) == right
    for key in list(files._hashes):
        files._hashes[key] = "wrong"
    assert files.all_sha256(paths, anew=True) == right
    assert set(files.all_sha256(paths)) == {"wrong"}
    files._hashes.clear()


def test_a_changed_file_is_read_again(weights):
    """Other bytes of the same number, another file in its place, and another path are read."""
    hashed(weights)
    before = weights.stat()
    with open(weights, "r+b") as file:
        file.write(b"other")
    os.utime(weights, ns=(before.st_mtime_ns, before.st_mtime_ns))  # the ctime differs
    assert [hashed(weights), hashed(weights)] == [1, 0]
    other = weights.with_name("other")
    other.write_bytes(os.urandom(2**20) * 32)
    os.utime(other, ns=(before.st_mtime_ns, before.st_mtime_ns))
    os.replace(other, weights)
    assert hashed(weights) == 1
    assert hashed(weights.rename(weights.with_name("moved"))) == 1


def test_a_fresh_file_is_not_kept(weights):
    """A file that has just been written might change again within the clock's grain."""
    os.utime(weights)
    assert [hashed(weights), hashed(weights)] == [1, 1]


def test_a_damaged_record_costs_a_reading(weights, tmp_path):
    """What is kept of a hash may be damaged or belong to another format: the file is read."""
    hashed(weights)
    [record] = (tmp_path / "cache" / "hashes").iterdir()
    for text in ("{", "[]", '{"sha256": "0"}'):
        record.write_text(text)
        assert hashed(weights) == 1
    assert hashed(weights) == 0


def test_verify_reads_in_full(weights, tmp_path, capsys):
    """`metarfft verify` finds bytes that changed while all that `stat` says stayed; after that the
    file counts as what it holds."""
    hashed(weights)
    assert cli.main(["verify"]) == 0
    assert capsys.readouterr().out == "files read: 1\n"
    [record] = (tmp_path / "cache" / "hashes").iterdir()
    stored = files.read_json(record)
    files.write_json(record, stored | {"sha256": "0" * 64})  # as if the disk had changed the file
    assert cli.main(["verify"]) == 1
    assert str(weights) in capsys.readouterr().err
    assert hashed(weights) == 1
    weights.unlink()
    assert files.verify_hashes() == (0, [])
    assert not list((tmp_path / "cache" / "hashes").iterdir())
