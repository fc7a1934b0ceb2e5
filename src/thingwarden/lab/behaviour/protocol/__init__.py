"""The client and server sides of the protocols that the lab speaks with code of its own, as coroutines over World."""
