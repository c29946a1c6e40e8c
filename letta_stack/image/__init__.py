"""What goes into images: the server, third-party images, the version of Letta."""
