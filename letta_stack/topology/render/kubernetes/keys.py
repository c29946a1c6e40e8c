"""What becomes of each key of a compose model on Kubernetes."""

from __future__ import annotations

from letta_stack.topology.render.keys import COMMON, EXPRESSED

KEYS = COMMON | {
    "services.*.cpu_shares": EXPRESSED,
    "services.*.depends_on": (
        "pods start side by side, and each waits for what it needs; `inv up` alone applies what depends on the migration "
        "after its Job"
    ),
    "services.*.deploy.resources.limits.pids": (
        "the kubelet bounds processes for all pods of a node alike: podPidsLimit"
    ),
    "services.*.extra_hosts": "a cluster has no host to name; write the address of the program",
    "services.*.labels.*": EXPRESSED,
    "services.*.logging": "the kubelet rotates logs: containerLogMaxSize, containerLogMaxFiles",
    "services.*.networks.*.aliases": EXPRESSED,
    "services.*.ports[].host_ip": "a Service has an address of its own; --host publishes it",
    "services.*.ports[].mode": "a Service has an address of its own; --host publishes it",
    "services.*.ports[].protocol": EXPRESSED,
    "services.*.ports[].published": "a Service has an address of its own; --host publishes it",
    "services.*.pull_policy": "nodes pull what they do not have; the image must be in a registry that they reach",
    "services.*.security_opt": EXPRESSED,
    "services.*.shm_size": EXPRESSED,
    "services.*.stop_signal": EXPRESSED,
    "services.*.tmpfs": EXPRESSED,
    "services.*.volumes[].bind": "a ConfigMap is there before the pod is",
    "services.*.volumes[].read_only": EXPRESSED,
}
