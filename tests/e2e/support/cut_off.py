"""A line to a server that is cut again and again."""
import contextlib
import socket
import threading
import urllib.parse


class CutOff:
    """Passes connections on to an address, and cuts each after so many bytes of answers. `cuts` counts them."""

    def __init__(self, endpoint, answer_bytes):
        parts = urllib.parse.urlsplit(endpoint)
        self.server = parts.hostname, parts.port
        self.answer_bytes = answer_bytes
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.server)
                threading.Thread(target=self.ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self.answer, args=(client, server), daemon=True).start()

    @staticmethod
    def ask(client, server):
        with contextlib.suppress(OSError):
            while data := client.recv(65_536):
                server.sendall(data)

    def answer(self, client, server):
        left = self.answer_bytes
        with contextlib.suppress(OSError):
            while left and (data := server.recv(min(left, 65_536))):
                client.sendall(data)
                left -= len(data)
        self.cuts += left == 0
        for end in (client, server):
            # Closing alone would wait for the other thread, which is reading.
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self):
        self.listener.close()
