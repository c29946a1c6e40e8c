"""The registry side of images: references, OCI content, the distribution protocol, credentials."""
