"""The interfaces of the host."""
