"""Programs of the house: mutation testing and the soak."""
