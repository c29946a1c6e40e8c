"""What a compose model must keep to, so that a running stack is safe: rules, findings, reports."""
