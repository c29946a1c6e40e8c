"""`inv doctor`: what an operator would look at first, looked at in a few seconds."""
