"""Programs that docs/ explains; tests play them."""
