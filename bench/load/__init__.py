"""What `prod` can take: real clients (the SDK, streams) through Locust, with one, two and four servers."""
