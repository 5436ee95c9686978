"""Requests about signed audit logs, for those who call every RPC."""
import base64

from support import waiting


def sign_checkpoint(_world):
    return {"seq": 1, "hash": base64.b64encode(b"\1" * 32).decode()}


def list_checkpoints(world):
    world.client("service").call("CheckpointService/SignCheckpoint", sign_checkpoint(world))
    return {"service": "case"}


def list_audit_checkpoints(world):
    admin = world.client("admin")
    waiting.until(lambda: admin.call("AuditService/ListAuditCheckpoints").checkpoints, "a signed audit log")
    return {}
