"""The control plane: Flyte's services on one machine, each action in a container of its own.

`client` is what the command line and the plugin use; `__main__` is the process that serves. The unmodified `flyte`
SDK on the host and the stock entrypoint inside the images are the two clients of `services`.
"""
