"""Real browsers for tests: Chromium, Firefox and WebKit behind one small interface."""
