"""The columns of segmentation are kept by blocks of customers: a restart loads them, and reads records where none are kept or they have changed since."""
import contextlib
import sqlite3

import pytest

from one_person import merge
from privacy_rights import completed, erase
from support import facts, questions, quintile, segments, waiting

BLOCK = 1 << 14
RULES = ["true", "orders >= 3", "days_since(last_order_at) < 60", 'label == "champions"', 'stage == "active" && rfm.m >= 4',
         "net_revenue > 100.00 || orders == 1", "!has(average_order_value)"]


@contextlib.contextmanager
def database(suite):
    """Runs statements on segmentation's tables; None for those without rows."""
    if suite.database_url:
        with contextlib.closing(quintile.connect(suite.database_url)) as connection:
            connection.run("SET search_path TO segmentation")
            yield connection.run
    else:
        with contextlib.closing(sqlite3.connect(suite.data / "segmentation.sqlite", isolation_level=None, timeout=30)) as connection:
            yield lambda statement: connection.execute(statement).fetchall()


def kept(suite):
    """The blocks that are kept."""
    with database(suite) as run:
        return [block for (block,) in run("SELECT block FROM column_block ORDER BY block")]


def wait_until_kept(suite, *blocks):
    waiting.until(lambda: kept(suite) == list(blocks), lambda: f"{blocks} to be kept, and not {kept(suite)}", interval=0.25)


def touched(suite):
    """In how many steps somebody was touched whose block is kept."""
    with database(suite) as run:
        return run("SELECT count(*) FROM column_touched")[0][0]


def told(client):
    """What segmentation says of everybody."""
    counts = {rule: (seen.customers, facts.cents_of(seen.net_revenue)) for rule in RULES for seen in [questions.preview(client, rule)]}
    labels = {row.title: row.customers for row in questions.distribution(client).labels}
    return counts, labels, segments.members(client, "segments/frequent"), segments.members(client, "segments/listed")


@pytest.fixture
def town(fresh):
    """A suite with CDNOW, of which both blocks of columns are kept; two who are nobody else's."""
    fresh.import_cdnow(quintile.cdnow())
    admin = fresh.client("admin")
    segments.take_in(admin, facts.order("ann", "a"), facts.order("ben", "b"))
    ann, ben = (questions.find(admin, key) for key in ("ann", "ben"))
    assert segments.number(ann) > BLOCK
    segments.create(admin, "frequent", "orders >= 9")
    segments.static(admin, "listed")
    segments.add(admin, "segments/listed", [ann, "customers/1", "customers/20000"])
    wait_until_kept(fresh, 0, 1)
    return fresh


def restarted(suite):
    suite.kill()
    return suite.start().client("admin")


def a_restart_loads_what_is_kept_and_what_was_touched_since(town):
    admin = town.client("admin")
    ann, ben = (questions.find(admin, key) for key in ("ann", "ben"))
    questions.wait_for(admin, merge(admin, ben, ann).facts_position)
    # Of whoever is no more nothing is kept.
    assert kept(town) == [0]
    wait_until_kept(town, 0, 1)
    segments.take_in(admin, facts.order("ann", "a2", cents=99_999), facts.order("new", "n"))
    expected = told(admin)
    assert touched(town) > 0
    town.kill()
    with database(town) as run:
        # What nothing but the columns has.
        run(f"DELETE FROM customer_record WHERE customer_id = {BLOCK + 7}")
        assert kept(town) == [0, 1]
    admin = town.start().client("admin")
    assert told(admin) == expected
    # It goes on being true.
    before = questions.preview(admin, "orders >= 1").customers
    segments.take_in(admin, facts.order("newer", "n"))
    assert questions.preview(admin, "orders >= 1").customers == before + 1
    expected = told(admin)
    assert told(restarted(town)) == expected


def who_is_erased_is_in_no_block_that_is_kept(town):
    admin = town.client("admin")
    name = questions.find(admin, "ben")
    completed(admin, erase(admin, name).name)
    # The other block has nothing to do with it.
    assert 0 in kept(town)
    expected = told(admin)
    wait_until_kept(town, 0, 1)
    admin = restarted(town)
    assert told(admin) == expected and name not in segments.members(admin, "segments/listed")


def what_cannot_be_read_is_read_from_records(town):
    expected = told(town.client("admin"))
    town.kill()
    with database(town) as run:
        nonsense = "'x'::bytea" if town.database_url else "x'78'"
        run(f"UPDATE column_block SET body = {nonsense} WHERE block = 0")
        run("UPDATE column_block SET layout = 'another release' WHERE block = 1")
    admin = town.start().client("admin")
    assert town.has_logged("its records are") and told(admin) == expected
    # Both are kept again.
    wait_until_kept(town, 0, 1)
    assert told(restarted(town)) == expected
