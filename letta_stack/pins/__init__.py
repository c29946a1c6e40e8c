"""``pins.env``: reading, checking and updating it."""
