"""The other runtimes. Nothing here imports transom, so a peer may run on another interpreter."""
