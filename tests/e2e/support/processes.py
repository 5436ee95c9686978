"""The binary started by configuration file: with TLS, or one process per role."""
import contextlib
import json
import os
import subprocess

from support import waiting
from support.quintile import START_SECONDS, STOP_SECONDS, binary


def toml(sections):
    """TOML of {section: {key: text, number or truth}}; the section "" is the top."""
    lines = []
    for section, settings in sections.items():
        lines += [f"[{section}]"] if section else []
        lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def serving(home, config, *arguments, name="serve", failpoints=""):
    """A `quintile serve` by a configuration file, gone afterwards. `failpoints` is what FAILPOINTS says."""
    with open(home / f"{name}.log", "ab") as log:
        process = subprocess.Popen([binary(), "serve", "--config", str(config), *arguments], stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, cwd=home, start_new_session=True,
                                   env=os.environ | {"FAILPOINTS": failpoints})
    try:
        yield process
    finally:
        process.kill()
        process.wait(STOP_SECONDS)


def endpoints(home, process, path):
    """What endpoints.json says, as soon as it is there."""
    def read():
        assert process.poll() is None, (home / "serve.log").read_text()[-4000:]
        return json.loads(path.read_text()) if path.exists() else None
    return waiting.until(read, f"{path}", START_SECONDS)


def command(home, config, *arguments):
    """A finished command of the binary by a configuration file."""
    return subprocess.run([binary(), *arguments, "--config", str(config)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, cwd=home, timeout=120)
