"""A Docker Engine, a loopback registry and base images for a machine that has none.

    python -m scripts.machine up --state DIR      bring up what is missing; say how to reach it
    python -m scripts.machine status --state DIR  what runs
    python -m scripts.machine down --state DIR    stop what `up` started, remove DIR

`up --bases all` makes every base that the tests want; without it, those that Flyte's images start from.
Nothing is installed: packages of Debian's archive are unpacked into DIR and run from there. An engine that already
answers is used instead of one of our own. `up.py` and `down.py` hold the two main paths; read them first.
"""
