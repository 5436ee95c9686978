"""Identifying fields are ciphertext wherever they lie: in every file of the data directory and every table."""
import contextlib

from support import canaries, facts, quintile
from support.world import populate

TABLES = ("SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
          "WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')")


def tables_of(url):
    """(table, all its rows as one text) of a database. `bytea` is hexadecimal in it."""
    with contextlib.closing(quintile.connect(url)) as database:
        for (table,) in database.run(TABLES):
            rows = database.run(f"SELECT t::text FROM {table} AS t")
            yield table, "\n".join(text for (text,) in rows if text)


def no_file_and_no_table_holds_a_contact_detail_in_clear(fresh):
    admin = populate(fresh).client("admin")
    admin.call("IngestService/IngestBatch", facts.batch(facts.customer(
        "in-bulk", display_name=canaries.NAME, phone=canaries.PHONE, email=canaries.EMAIL, address=canaries.ADDRESS)))
    found, read = {}, 0
    for path in filter(lambda path: path.is_file(), fresh.data.rglob("*")):
        read += 1
        found[str(path)] = canaries.found_in_bytes(path.read_bytes(), canaries.FROM_OUTPUT)
    if fresh.database_url:
        for table, text in tables_of(fresh.database_url):
            read += 1
            found[table] = canaries.found_in_bytes(text.encode(), canaries.FROM_OUTPUT)
    assert read >= 6, f"only {read} places were searched"
    assert {place: canary for place, canary in found.items() if canary} == {}
