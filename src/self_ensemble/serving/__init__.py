"""What an HTTP server needs that is no HTTP framework: a queue, limits, keys, protocol.

    body -> schema -> preparing -> scheduler (one thread, one stream) -> replies -> client
                      aside (another thread): wordings made, attribution

`integrations/serve.py` puts it behind FastAPI.
"""
