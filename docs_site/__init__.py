"""The documentation site: what is generated for it, and its checks. Not shipped."""
