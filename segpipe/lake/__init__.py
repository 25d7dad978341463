"""Tables in, labels out: reading, the data contract, staged files, atomic publication."""
