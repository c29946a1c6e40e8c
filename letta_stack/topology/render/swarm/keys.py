"""What becomes of each key of a compose model in a stack file."""

from __future__ import annotations

from letta_stack.topology.render.keys import COMMON, EXPRESSED

KEYS = COMMON | {
    "services.*.cpu_shares": "a stack file knows no weights; reservations share out processors",
    "services.*.depends_on": "tasks start side by side, and each waits for what it needs",
    "services.*.deploy.resources.limits.pids": EXPRESSED,
    "services.*.extra_hosts": "no host of a swarm is the one to name; write the address of the program",
    "services.*.labels.*": EXPRESSED,
    "services.*.logging": EXPRESSED,
    "services.*.networks.*.aliases": EXPRESSED,
    "services.*.ports[].host_ip": "a stack publishes on every address of the host; let its firewall decide who gets in",
    "services.*.ports[].mode": "every host runs a gateway and publishes its own: the routing mesh needs IPVS, which kernels lack",
    "services.*.ports[].protocol": EXPRESSED,
    "services.*.ports[].published": EXPRESSED,
    "services.*.pull_policy": "hosts pull what they do not have; the image must be in a registry that they reach",
    "services.*.security_opt": 'the engine decides: {"no-new-privileges": true} in its daemon.json',
    "services.*.shm_size": EXPRESSED,
    "services.*.stop_signal": EXPRESSED,
    "services.*.tmpfs": EXPRESSED,
    "services.*.volumes[].bind": "a config is there before the task is",
    "services.*.volumes[].read_only": EXPRESSED,
}
