"""How near the hybrid encoder comes to the machine: against bare library calls, other arrangements of the same work, and counted FLOPs."""
