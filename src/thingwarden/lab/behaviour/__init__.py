"""What hosts do: devices, services, attacks and chores, written once for real sockets and for simulated time."""
