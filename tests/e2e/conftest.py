"""The suites that tests run against, each on SQLite and on PostgreSQL."""
import collections
import types
import uuid

import pytest

from support import facts, questions, quintile, receiver

collect_ignore = ["cdnow_witness.py", "conftest.py"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Files of few tests come first: theirs take long, such as waiting for a suite that was killed. Tables of many short ones fill the end."""
    counts = collections.Counter(item.path for item in items)
    items.sort(key=lambda item: counts[item.path])


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def backend(request):
    """The database: a test that does not name a suite's data in another way runs once on each."""
    if request.param == "postgres":
        quintile.postgres_url()  # Fails here, with its reason, rather than being skipped.
    return request.param


@pytest.fixture
def fresh(backend):
    """An empty suite of the test's own, at 1998-07-01."""
    with quintile.suite(backend, webhooks=receiver.refusing()) as suite:
        yield suite


@pytest.fixture(scope="module")
def shared(backend):
    """An empty suite that the tests of one file share: each uses customers and streams of its own, and none moves time."""
    with quintile.suite(backend, webhooks=receiver.refusing()) as suite:
        yield suite


@pytest.fixture
def admin(shared):
    return shared.client("admin")


@pytest.fixture
def new():
    """A name that no other test uses."""
    return uuid.uuid4().hex


@pytest.fixture(scope="session")
def demo(backend):
    """A suite with all of CDNOW, imported by the command. Tests only read it."""
    with quintile.suite(backend) as suite:
        position = suite.import_cdnow(quintile.cdnow())
        questions.wait_for(suite.client("admin"), position, facts.AS_OF)
        yield types.SimpleNamespace(suite=suite, position=position, admin=suite.client("admin"),
                                    analyst=suite.client("analyst"))
