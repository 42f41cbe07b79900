"""The status page: what an operator without Grafana opens. Rendered when asked, without any I/O."""
