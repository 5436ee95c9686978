"""The contracts against those of the last release, as `make buf-lint` compares them: they may grow, and nothing that was promised may go."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.quintile import REPOSITORY

RELEASED = "released.binpb.gz"
WATERMARK = "quintile/type/v1/watermark.proto"
FIELD = re.compile(r"  int64 facts_position = 1 ")


@pytest.fixture
def contracts(tmp_path):
    """A copy of the contracts, to be changed."""
    return Path(shutil.copytree(REPOSITORY / "proto", tmp_path / "proto"))


def breaking(contracts):
    """What `buf breaking` says, in its own words; nothing where nothing is broken."""
    buf = os.environ.get("QUINTILE_BUF")
    assert buf, "QUINTILE_BUF is not set: it names the program buf, as `make test` does"
    done = subprocess.run([buf, "breaking", "--against", RELEASED], cwd=contracts, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, 100) and not done.stderr, done
    assert (done.returncode == 100) == bool(done.stdout), done
    return done.stdout


def change(contracts, pattern, replacement):
    file = contracts / WATERMARK
    text, changes = re.subn(pattern, replacement, file.read_text())
    assert changes == 1
    file.write_text(text)


def nothing_of_the_last_release_is_missing(contracts):
    assert breaking(contracts) == ""


def a_new_field_is_no_break_of_promises(contracts):
    change(contracts, FIELD, "  int64 another_position = 9 [(quintile.type.v1.sensitivity) = SENSITIVITY_NONE];\n  int64 facts_position = 1 ")
    assert breaking(contracts) == ""


@pytest.mark.parametrize("replacement, said", [
    ("  int32 facts_position = 1 ", 'changed type from "int64" to "int32"'),
    ("  int64 facts_position = 7 ", 'Previously present field "1" with name "facts_position"'),
    ("  int64 position = 1 ", 'changed name from "facts_position" to "position"'),
])
def a_changed_field_is_refused_by_name(contracts, replacement, said):
    change(contracts, FIELD, replacement)
    assert said in breaking(contracts)


def a_removed_field_is_refused_by_name(contracts):
    change(contracts, r"(?s)  // [^;]*int64 facts_position = 1 [^;]*;", "")
    assert 'Previously present field "1" with name "facts_position" on message "Watermark" was deleted.' in breaking(contracts)
