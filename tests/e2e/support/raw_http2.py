"""A gRPC call made of HTTP/2 frames, for what a well-behaved client library keeps to itself.

grpcio enforces a deadline by itself and never shows whether the server would have. This client names a `grpc-timeout`
and waits regardless.
"""
import socket
import struct
import urllib.parse

import h2.config
import h2.connection
import h2.events

ANSWER_SECONDS = 20


def call(endpoint, path, request, headers):
    """The headers and trailers of the answer to a call, as a dict. `request` is a message; None sends none and stays open."""
    address = urllib.parse.urlsplit(endpoint)
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    with socket.create_connection((address.hostname, address.port), ANSWER_SECONDS) as wire:
        connection.initiate_connection()
        connection.send_headers(1, [(":method", "POST"), (":scheme", "http"), (":authority", address.netloc),
                                    (":path", f"/{path}"), ("content-type", "application/grpc"), ("te", "trailers"),
                                    *headers])
        if request is not None:
            message = request.SerializeToString()
            connection.send_data(1, struct.pack(">BI", 0, len(message)) + message, end_stream=True)
        wire.sendall(connection.data_to_send())
        return answer(connection, wire)


def answer(connection, wire):
    """Reads until the stream has ended."""
    seen = {}
    while True:
        data = wire.recv(65536)
        assert data, f"the server closed the connection after {seen}"
        for event in connection.receive_data(data):
            if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                seen |= dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                return seen
        wire.sendall(connection.data_to_send())


class OpenCall:
    """A streaming call whose client may do what no library would: send half a message, and vanish."""

    def __init__(self, endpoint, path, headers):
        address = urllib.parse.urlsplit(endpoint)
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.wire = socket.create_connection((address.hostname, address.port), ANSWER_SECONDS)
        self.connection.initiate_connection()
        self.connection.send_headers(1, [(":method", "POST"), (":scheme", "http"), (":authority", address.netloc),
                                         (":path", f"/{path}"), ("content-type", "application/grpc"), ("te", "trailers"), *headers])
        self.wire.sendall(self.connection.data_to_send())

    def send(self, request, bytes_kept_back=0):
        """Sends a message but for its last bytes."""
        message = request.SerializeToString()
        data = struct.pack(">BI", 0, len(message)) + message
        self.connection.send_data(1, data[:len(data) - bytes_kept_back])
        self.wire.sendall(self.connection.data_to_send())

    def until_answered(self):
        """Waits for data of an answer."""
        while True:
            data = self.wire.recv(65536)
            assert data, "the server closed the connection"
            events = self.connection.receive_data(data)
            self.wire.sendall(self.connection.data_to_send())
            assert not any(isinstance(event, h2.events.TrailersReceived) for event in events), events
            if any(isinstance(event, h2.events.DataReceived) for event in events):
                return

    def vanish(self):
        """Is gone without a word: the server finds the connection reset."""
        self.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wire.close()
