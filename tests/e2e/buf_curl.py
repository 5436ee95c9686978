"""`buf curl`, which knows nothing of us either, gets a profile through reflection with a token in a header.

QUINTILE_BUF is the path of buf (npm package @bufbuild/buf).
"""
import json
import os
import shutil
import subprocess

from support import canaries
from support.world import populate


def buf():
    path = os.environ.get("QUINTILE_BUF") or shutil.which("buf")
    assert path and os.access(path, os.X_OK), "no buf: `npm install @bufbuild/buf`, and set QUINTILE_BUF to its path"
    return path


def curl(endpoint, method, request, token, *options):
    """A finished `buf curl`. The schema is had by reflection, with the call's own headers."""
    header = ["-H", f"Authorization: Bearer {token}"] if token else []
    return subprocess.run(
        [buf(), "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--reflect", "--reflect-header", "*", *header,
         *options, "-d", json.dumps(request), f"{endpoint}/{method}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)


def buf_curl_gets_a_profile_in_the_form_that_the_tokens_role_may_see(fresh):
    world = populate(fresh)
    call = (fresh.endpoints["segmentation"], "quintile.segmentation.v1.ProfileService/GetProfile",
            {"name": f"{world.customer}/profile"})
    profiles = {}
    for role in ("support", "analyst"):
        done = curl(*call, fresh.token(role))
        assert done.returncode == 0, done.stderr
        profiles[role] = json.loads(done.stdout)
    assert profiles["support"]["customer"]["displayName"] == canaries.NAME
    assert profiles["analyst"]["customer"]["displayName"] == "****"
    assert world.segment in profiles["analyst"]["segments"]
    for protocol in ("grpc-v1", "grpc-v1alpha"):
        assert curl(*call, fresh.token("analyst"), "--reflect-protocol", protocol).returncode == 0
    refused = curl(*call, None)
    assert refused.returncode != 0 and not refused.stdout  # buf says only that it has found no schema.
