"""The client's address and device, read from headers that strangers wrote."""
