"""A disk of a few MiB for a suite's data: a tmpfs in a mount namespace of its own, for which nobody has to be root."""
import contextlib
import errno
import os
import subprocess
from pathlib import Path

from support.quintile import STOP_SECONDS

MEBIBYTE = 1 << 20


@contextlib.contextmanager
def small_disk(suite, mebibytes):
    """Puts the data of a suite that has not been started on a disk of its own."""
    inside = suite.data
    inside.mkdir()
    ours = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    script = f'mount -t tmpfs -o size={mebibytes}m quintile-test "{inside}" && echo mounted && exec cat'
    # It lives as long as its standard input is open, and the namespace as long as it lives.
    holder = subprocess.Popen(["unshare", *ours, "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert holder.stdout.readline() == "mounted\n", f"no disk of our own: {holder.stderr.read()}"
        suite.within = ("nsenter", "--target", str(holder.pid), "--mount", *(("--user", "--preserve-credentials") if ours else ()), "--")
        # The same folder for those outside and inside.
        suite.data = Path(f"/proc/{holder.pid}/root{inside}")
        yield suite.data
        suite.kill()
    finally:
        holder.stdin.close()
        holder.wait(STOP_SECONDS)


def fill(folder):
    """Fills the disk of a folder to the last byte, and returns the file that has to go to make room."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as stream:
        size = MEBIBYTE
        while size:
            try:
                stream.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC, error
                size //= 2
    return filler
