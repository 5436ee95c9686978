"""Health answers everybody; reflection, in both versions, those with a token."""
import grpc
import pytest

from support import quintile
from support.reflection import REFLECTION_VERSIONS, files_on, open_channel, services_on
from support.refusals import UNAUTHENTICATED


@pytest.mark.parametrize("port", quintile.PORTS)
def every_port_says_without_a_token_that_it_serves(shared, port):
    assert quintile.health_of(shared.endpoints[port]) == "SERVING"


def every_service_has_a_loopback_port_of_its_own(shared):
    assert set(shared.endpoints) == set(quintile.PORTS)
    assert len(set(shared.endpoints.values())) == len(quintile.PORTS)
    assert all(endpoint.startswith("http://127.0.0.1:") for endpoint in shared.endpoints.values())


@pytest.mark.parametrize("version", REFLECTION_VERSIONS)
@pytest.mark.parametrize("port", quintile.PORTS)
def reflection_describes_a_ports_services_to_those_with_a_token(shared, port, version):
    channel = open_channel(shared.endpoints[port])
    try:
        token = shared.token("analyst")
        services = [name for name in services_on(channel, token, version) if name.startswith("quintile.")]
        # Every service has its audit log on its port besides its own services.
        assert "quintile.audit.v1.AuditService" in services
        own = set(services) - {"quintile.audit.v1.AuditService"}
        assert own and all(name.startswith(f"quintile.{port}.v1.") for name in own)
        described = {f"{file.package}.{service.name}" for file in files_on(channel, services, token, version).values()
                     for service in file.service}
        assert set(services) <= described
        for wrong in (None, "garbage"):
            with pytest.raises(grpc.RpcError) as refused:
                services_on(channel, wrong, version)
            assert refused.value.code() == UNAUTHENTICATED
    finally:
        channel.close()
