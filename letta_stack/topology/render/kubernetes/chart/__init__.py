"""The objects as a Helm chart: made from the same rendered objects as the files of `kubectl apply -k`."""
