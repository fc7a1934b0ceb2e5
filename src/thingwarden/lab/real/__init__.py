"""The lab in real time: namespaces, sockets, servers and tools."""
