"""What happens inside the container: settings, secrets, migration, and the server itself.

``prepare`` and ``create_database`` run as root and use nothing but the standard library; ``migrate`` and ``serve`` run as user
letta in the server's virtual environment.
"""
