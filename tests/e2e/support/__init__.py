"""What the end-to-end tests share: the server's process, a client that knows no stubs, and the facts that they send."""
