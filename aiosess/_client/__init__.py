"""Who is asking: the address and the device, read from what strangers wrote."""
