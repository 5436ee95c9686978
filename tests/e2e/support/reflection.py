"""A client that knows nothing of Quintile but five addresses: services, methods and messages are learnt by reflection.

Requests are dicts in protobuf's JSON form with the field names of the protos; answers are dynamic messages.
"""
import copy

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha import reflection_pb2

from support.refusals import Refusal

# The published service that ours serve beside their own.
OPERATIONS = "google.longrunning.Operations"
# What operations carry packed, and so no contract imports.
PACKED = "quintile.type.v1.OperationMetadata"
CALL_SECONDS = 30
STREAM_SECONDS = 600
REFLECTION_VERSIONS = ("v1", "v1alpha")
# The window does not grow: who reads slowly holds the server up behind 64 KiB, however fast the connection is.
CHANNEL_OPTIONS = (("grpc.http2.bdp_probe", 0), ("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20),
                   ("grpc.enable_retries", 0), ("grpc.max_metadata_size", 64 << 10))


def authorization(token):
    return () if token is None else (("authorization", f"Bearer {token}"),)


def open_channel(endpoint):
    return grpc.insecure_channel(endpoint.removeprefix("http://"), options=CHANNEL_OPTIONS)


def ask_reflection(channel, requests, token, version="v1"):
    """The answers to reflection requests, in order. v1 and v1alpha have the same messages on the wire."""
    method = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString)
    return list(method(iter(requests), metadata=authorization(token), timeout=CALL_SECONDS))


def services_on(channel, token, version="v1"):
    """The names of the services that a port reflects."""
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answer = ask_reflection(channel, [request], token, version)[0]
    assert answer.HasField("list_services_response"), answer
    return [service.name for service in answer.list_services_response.service]


def files_on(channel, services, token, version="v1"):
    """{file name: FileDescriptorProto} of the services and of all that they import."""
    files, wanted = {}, [{"file_containing_symbol": service} for service in services]
    while wanted:
        requests = [reflection_pb2.ServerReflectionRequest(**want) for want in wanted]
        for answer in ask_reflection(channel, requests, token, version):
            assert answer.HasField("file_descriptor_response"), answer
            for serialized in answer.file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(serialized)
                files[file.name] = file
        missing = {name for file in files.values() for name in file.dependency} - files.keys()
        wanted = [{"file_by_filename": name} for name in sorted(missing)]
    return files


def pool_of(files):
    """A descriptor pool of its own, filled in the order of imports."""
    pool, added = descriptor_pool.DescriptorPool(), set()

    def add(name):
        if name in added:
            return
        added.add(name)
        for imported in files[name].dependency:
            add(imported)
        pool.AddSerializedFile(files[name].SerializeToString())

    for name in sorted(files):
        add(name)
    return pool


class Method:
    """One RPC, as reflection describes it."""

    def __init__(self, port, descriptor):
        self.port = port
        self.path = f"{descriptor.containing_service.full_name}/{descriptor.name}"
        self.request = message_factory.GetMessageClass(descriptor.input_type)
        self.response = message_factory.GetMessageClass(descriptor.output_type)
        self.client_streams = descriptor.client_streaming
        self.server_streams = descriptor.server_streaming

    def __repr__(self):
        return self.path


class Api:
    """The RPCs of a running suite. `endpoints` are {port name: URL}, `token` may reflect."""

    def __init__(self, endpoints, token):
        self.channels = {port: open_channel(endpoint) for port, endpoint in endpoints.items()}
        self.services, files = {}, {}
        for port, channel in self.channels.items():
            names = [name for name in services_on(channel, token) if name.startswith("quintile.") or name == OPERATIONS]
            self.services[port] = names
            files |= files_on(channel, [*names, PACKED], token)
        self.pool = pool = pool_of(files)
        self.methods, self.asked = {}, {}
        for port, names in self.services.items():
            for service in names:
                for descriptor in pool.FindServiceByName(service).methods:
                    method = Method(port, descriptor)
                    # Long work is asked about where it was begun: by itself a name is of the first port, `method_on` is of any.
                    if service == OPERATIONS and method.path in self.methods:
                        continue
                    self.methods[method.path] = method

    def method(self, name):
        """The method `Service/Method`; the package may be left out. A `Method` is itself."""
        if isinstance(name, Method):
            return name
        if name not in self.asked:
            self.asked[name] = self.search(name)
        return self.asked[name]

    def search(self, name):
        found = [m for path, m in self.methods.items() if path == name or path.endswith(f".{name}")]
        assert len(found) == 1, f"{name} is {[m.path for m in found] or 'not reflected'}"
        return found[0]

    def method_on(self, port, name):
        """A method of a service that several ports have, of one of them."""
        method = copy.copy(self.method(name))
        method.port = port
        return method

    def message(self, full_name):
        """A message by its full name: what answers carry packed."""
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(full_name))

    def client(self, token):
        return Client(self, token)

    def close(self):
        for channel in self.channels.values():
            channel.close()

    def callable(self, method):
        kind = {(False, False): "unary_unary", (False, True): "unary_stream", (True, False): "stream_unary",
                (True, True): "stream_stream"}[method.client_streams, method.server_streams]
        make = getattr(self.channels[method.port], kind)
        return make(f"/{method.path}", request_serializer=method.request.SerializeToString,
                    response_deserializer=method.response.FromString)


class Client:
    """The API as one caller uses it."""

    def __init__(self, api, token):
        self.api = api
        self.token = token

    def metadata(self):
        return authorization(self.token)

    def message(self, name, fields):
        """The request of a method; `fields` may already be it."""
        request = self.api.method(name).request
        return fields if isinstance(fields, request) else json_format.ParseDict(fields, request())

    def exchange(self, name, fields=None, metadata=None, seconds=CALL_SECONDS):
        """A unary call: the answer, and the metadata that came around it. Refusals are raised as `Refusal`."""
        call = self.api.callable(self.api.method(name))
        sent = self.metadata() if metadata is None else metadata
        try:
            answer, call = call.with_call(self.message(name, fields or {}), metadata=sent, timeout=seconds)
        except grpc.RpcError as error:
            raise Refusal(error) from None
        return answer, (*call.initial_metadata(), *call.trailing_metadata())

    def call(self, name, fields=None, metadata=None, seconds=CALL_SECONDS):
        """A unary call's answer."""
        return self.exchange(name, fields, metadata, seconds)[0]

    def refused(self, name, fields=None, metadata=None, seconds=CALL_SECONDS):
        """The refusal of a call, unary or streaming, that has to be refused."""
        method = self.api.method(name)
        try:
            if not (method.client_streams or method.server_streams):
                answer = self.call(name, fields, metadata, seconds)
            else:
                requests = [self.message(name, fields or {})]
                answer = next(self.start(name, requests, metadata, seconds), "an end without an answer")
        except Refusal as refusal:
            return refusal
        except grpc.RpcError as error:
            return Refusal(error)
        raise AssertionError(f"{name} was not refused, it answered: {str(answer)[:500]}")

    def start(self, name, requests, metadata=None, seconds=STREAM_SECONDS):
        """A streaming call under way, to be iterated and cancelled: its requests, or its one request in a list."""
        method = self.api.method(name)
        sent = self.metadata() if metadata is None else metadata
        call = self.api.callable(method)
        if method.client_streams:
            return call((self.message(name, each) for each in requests), metadata=sent, timeout=seconds)
        return call(self.message(name, requests[0]), metadata=sent, timeout=seconds)
