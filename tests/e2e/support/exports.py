"""`quintile export` as tests run it, and its files as they read them."""
import subprocess

import pyarrow.parquet as parquet

from support import quintile

FILES = ("customers", "orders", "order_lines", "refunds", "interactions", "feedback", "acquisition_spend", "exchange_rates",
         "records", "memberships")


def command(suite, out, *arguments):
    return suite.command("export", "--out", out, *arguments)


def run(suite, out, *arguments, env=None):
    return subprocess.run(command(suite, out, *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=quintile.IMPORT_SECONDS, env=env)


def export(suite, out, *arguments):
    """{file: its rows}, of an export that has to succeed."""
    done = run(suite, out, *arguments)
    assert done.returncode == 0, done.stderr
    assert not list(out.glob("*.part")), "a file that is not whole was left"
    return {path.stem: rows(path) for path in out.glob("*.parquet")}


def rows(path):
    return parquet.read_table(path).to_pylist()
